"""Effects of channels: agreement of first-order effects with exact replacement, effects on classes, concentration.

Effects are the signal "effect" of a recording (see `se_probe.recording.effects`). Sites at which first-order effects do
not agree with exact replacement are listed in `effect_agreement` and left out of everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from se_probe.analysis.gates import SiteMoments, columns_of, each_site, place_of, site_moments
from se_probe.analysis.protocols import SiteLike
from se_probe.analysis.stats.class_tests import false_discovery
from se_probe.analysis.stats.effects import (
    SelectivityAndSize,
    agreement,
    class_effects,
    effect_size,
    limits_of,
    selectivity_and_size,
    share_of_half,
)
from se_probe.analysis.stats.intervals import class_groups
from se_probe.analysis.stats.moments import Floats, omega_squared

if TYPE_CHECKING:
    from se_probe.recording import Recording

MOST_ROWS = 500_000
"""Up to this many rows `channel_effects` lists every class; beyond it, only the chosen ones."""
SAMPLE, AGREEMENT = "effect_sample.csv", "effect_agreement.csv"
OF_SITES, OF_CHANNELS, OF_CLASSES = "effect_sites.csv", "effect_channels.csv.gz", "channel_effects.csv.gz"
OVERALL = "effect_overall.csv"


def effect_tables(recording: Recording) -> dict[str, pd.DataFrame]:
    """Every table about effects, by the name of its file; none where effects were not recorded."""
    if not recording.effects:
        return {}
    agreements = effect_agreement(recording)
    used = [site for site in recording.sites if site.name in set(agreements.loc[agreements["holds"], "site"])]
    sample = effect_sample(recording).merge(agreements[["site", "correlation", "slope", "holds"]], on="site")
    tables = {SAMPLE: sample, AGREEMENT: agreements}
    if not used:
        return tables
    of_sites, of_channels, overall = _site_tables(recording, used)
    return tables | {
        OF_SITES: of_sites,
        OF_CHANNELS: of_channels,
        OVERALL: overall,
        OF_CLASSES: channel_effects(recording, [site.name for site in used]),
    }


def effect_sample(recording: Recording) -> pd.DataFrame:
    """First-order and exact effects of the sample on which gates were replaced.

    Columns: `site`, `image` (position in the selection), `branch`, `channel`, `first_order` and `exact`, in units of
    the outcome.
    """
    return pd.concat([pd.DataFrame(facts) for facts in recording.effects["agreement"]], ignore_index=True)


def effect_agreement(recording: Recording) -> pd.DataFrame:
    """Agreement of first-order effects with exact replacement, one row per site.

    Columns: `site`; `images` and `channels`, the number of channels replaced in each; `correlation`, `slope` of the
    exact on the first-order effect, `rmse` in units of the outcome; `holds`, see `stats.effects.Agreement`.
    """
    rows = []
    for site, sample in effect_sample(recording).groupby("site", sort=False):
        found, images = agreement(sample["first_order"], sample["exact"]), sample["image"].nunique()
        counts = {"site": site, "images": images, "channels": len(sample) // images}
        rows.append({**counts, **asdict(found), "holds": found.holds})
    return pd.DataFrame(rows)


def channel_effects(recording: Recording, sites: Sequence[str] | None = None) -> pd.DataFrame:
    """Mean effect of each channel's gate on the answer for each class, at the sites called `sites` (None: all).

    Negative where the class's own answer falls with the reference in place of the gate: the gate helps the class.

    Columns: `site`, `branch`, `channel`, `class`, `mean` with `ci_low` and `ci_high` (95 %, for other images of the
    class) in units of the outcome, and `q`, the p value of no effect adjusted for false discoveries over the site.
    Every class with two images, or the chosen ones beyond `MOST_ROWS` rows.
    """
    effects = recording.of("effect")
    chosen = [site for site in recording.sites if sites is None or site.name in sites]
    units = sum(site.branches * site.channels for site in chosen)
    names = None if units * len(recording.classes) <= MOST_ROWS else set(recording.chosen)
    tables = each_site(lambda site: _class_rows(site_moments(effects, site), names), chosen)
    return pd.concat(tables, ignore_index=True)


def _class_rows(moments: SiteMoments, names: set[str] | None) -> pd.DataFrame:
    if names is not None:
        moments = moments.of_classes(np.flatnonzero([name in names for name in moments.names]))
    low, high, p = class_effects(moments)
    columns = columns_of(moments.site)
    numbers = {"mean": moments.mean, "ci_low": low, "ci_high": high, "q": false_discovery(p.ravel())}
    return columns.loc[columns.index.repeat(len(moments.names))].assign(
        **{"class": np.tile(np.array(moments.names, dtype=object), len(columns))},
        **{name: _six_digits(values) for name, values in numbers.items()},
    )


def _six_digits(values: Floats) -> Floats:
    """Round to six significant digits, which halves the file."""
    flat = values.ravel()
    size = np.floor(np.log10(np.abs(flat), where=np.abs(flat) > 0, out=np.zeros(flat.size)))
    scale = 10.0 ** (5 - size)
    return np.asarray(np.round(flat * scale) / scale)


def _site_tables(recording: Recording, sites: Sequence[SiteLike]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tables of sites, of channels, and of all sites together, whose row has means over sites.

    Of sites: `effect`, the root mean square effect of a channel, mean over channels; `half_share`, the share of
    channels that carry half of the sum of these; `correlation` and `partial` with limits, see `stats.effects`. Of
    channels: their `effect` and their gate's `omega_squared`, with the site's correlation.
    """
    effects = recording.of("effect")

    def measured(site: SiteLike) -> tuple[dict[str, Any], pd.DataFrame, SelectivityAndSize]:
        gate, effect = site_moments(recording, site), site_moments(effects, site)
        groups = class_groups(len(gate.names))
        found = selectivity_and_size(gate, effect, groups)
        sizes = effect_size(effect)
        channels = columns_of(site).assign(
            omega_squared=omega_squared(gate.components), effect=sizes, site_correlation=found.plain.value
        )
        return _site_row(gate, sizes, found), channels, found

    rows, channels, found = zip(*each_site(measured, sites), strict=True)
    table = pd.DataFrame(list(rows))
    return table, pd.concat(channels, ignore_index=True), _overall(table, found)


def _site_row(gate: SiteMoments, sizes: Floats, found: SelectivityAndSize) -> dict[str, Any]:
    plain, partial = found.plain, found.partial
    return {
        **place_of(gate.site),
        "classes": len(gate.names),
        "images": int(gate.count.sum()),
        "channels": len(sizes),
        "effect": float(sizes.mean()),
        "half_share": share_of_half(sizes),
        "correlation": plain.value,
        "ci_low": plain.low,
        "ci_high": plain.high,
        "partial": partial.value,
        "partial_ci_low": partial.low,
        "partial_ci_high": partial.high,
    }


def _overall(table: pd.DataFrame, found: Sequence[SelectivityAndSize]) -> pd.DataFrame:
    """One row: means over sites, with limits from draws that leave out the same classes at every site."""
    classes = int(table["classes"].min())
    row: dict[str, Any] = {
        "sites": len(table),
        "channels": int(table["channels"].sum()),
        "classes": classes,
        "half_share": float(table["half_share"].median()),
    }
    draws = np.mean([one.draws for one in found], axis=0)
    for name, prefix, drawn in zip(("correlation", "partial"), ("", "partial_"), draws, strict=True):
        mean = limits_of(float(table[name].mean()), drawn, int(class_groups(classes).max()) + 1)
        row |= {name: mean.value, f"{prefix}ci_low": mean.low, f"{prefix}ci_high": mean.high}
    return pd.DataFrame([row])
