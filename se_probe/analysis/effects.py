"""Effects of channels: whether the first order holds, which channels carry which class, how concentrated effects are.

All of it is read from the signal "effect" of a recording (see `se_probe.recording.effects`). Sites at which first-order
effects do not agree with exact replacement are named in `effect_agreement` and left out of everything else.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd

from se_probe.analysis.gates import SiteMoments, each_site, site_moments
from se_probe.analysis.protocols import GateRecording, SiteLike
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

MOST_ROWS = 500_000
"""Rows up to which `channel_effects` is of every class; beyond, of the chosen ones."""
SAMPLE, AGREEMENT = "effect_sample.csv", "effect_agreement.csv"
OF_SITES, OF_CHANNELS, OF_CLASSES = "effect_sites.csv", "effect_channels.csv.gz", "channel_effects.csv.gz"
OVERALL = "effect_overall.csv"


class EffectRecording(GateRecording, Protocol):
    """A recording that may hold effects."""

    @property
    def effects(self) -> Mapping[str, Any]:
        """How effects were recorded; empty where they were not."""

    def of(self, signal: str, /) -> Self:
        """The recording with another signal in place of the gates."""


def effect_tables(recording: EffectRecording) -> dict[str, pd.DataFrame]:
    """Every table about effects, by the name of its file; none where effects were not recorded."""
    if not recording.effects:
        return {}
    held = effect_agreement(recording)
    used = [site for site in recording.sites if site.name in set(held.loc[held["holds"], "site"])]
    sample = effect_sample(recording).merge(held[["site", "correlation", "slope", "holds"]], on="site")
    tables = {SAMPLE: sample, AGREEMENT: held}
    if not used:
        return tables
    of_sites, of_channels, overall = _site_tables(recording, used)
    return tables | {
        OF_SITES: of_sites,
        OF_CHANNELS: of_channels,
        OVERALL: overall,
        OF_CLASSES: channel_effects(recording, [site.name for site in used]),
    }


def effect_sample(recording: EffectRecording) -> pd.DataFrame:
    """First-order and exact effects of the sample on which gates were replaced.

    Returns:
        `site`, `image` (place in the selection), `branch`, `channel`, `first_order` and `exact`, in units of the
        outcome.
    """
    rows = [pd.DataFrame(facts) for facts in recording.effects["agreement"]]
    return pd.concat(rows, ignore_index=True)


def effect_agreement(recording: EffectRecording) -> pd.DataFrame:
    """Whether first-order effects are those of exact replacement, a row a site.

    Returns:
        `site`; `images` and `channels`, the number of channels that were replaced in each; `correlation`, `slope` of
        the exact on the first-order effect, `rmse` in units of the outcome; `holds`, see `stats.effects.Agreement`.
    """
    rows = []
    for site, sample in effect_sample(recording).groupby("site", sort=False):
        found = agreement(sample["first_order"], sample["exact"])
        images = sample["image"].nunique()
        rows.append(
            {
                "site": site,
                "images": images,
                "channels": len(sample) // images,
                "correlation": found.correlation,
                "slope": found.slope,
                "rmse": found.rmse,
                "holds": found.holds,
            }
        )
    return pd.DataFrame(rows)


def channel_effects(recording: EffectRecording, sites: Sequence[str] | None = None) -> pd.DataFrame:
    """Which channels carry which class: the mean effect of each channel's gate on the answer for each class.

    Negative where the class's own answer would fall if the gate were the reference: the gate helps the class.

    Args:
        recording: a recording with effects.
        sites: names of the sites; None: all.

    Returns:
        `site`, `branch`, `channel`, `class`, `mean` with `ci_low` and `ci_high` (95 %, for other images of the class)
        in units of the outcome, and `q`, the p value of no effect, adjusted for false discoveries over all rows of
        the site. Every class with two images, or the chosen ones where that were more than `MOST_ROWS` rows.
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
    columns, classes = moments.mean.shape
    return pd.DataFrame(
        {
            "site": moments.site.name,
            **_places(moments.site, classes),
            "class": np.tile(np.array(moments.names, dtype=object), columns),
            "mean": _short(moments.mean),
            "ci_low": _short(low),
            "ci_high": _short(high),
            "q": _short(false_discovery(p.ravel())),
        }
    )


def _short(values: Floats) -> Floats:
    """Six significant digits, which halve the file."""
    flat = values.ravel()
    size = np.floor(np.log10(np.abs(flat), where=np.abs(flat) > 0, out=np.zeros(flat.size)))
    scale = 10.0 ** (5 - size)
    return np.asarray(np.round(flat * scale) / scale)


def _places(site: SiteLike, times: int) -> dict[str, Any]:
    """Branch and channel of every column, each so many times."""
    return {
        "branch": np.repeat(np.arange(site.branches), site.channels * times),
        "channel": np.repeat(np.tile(np.arange(site.channels), site.branches), times),
    }


def _site_tables(
    recording: EffectRecording, sites: Sequence[SiteLike]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tables of sites, of channels, and of all sites together.

    Sites: `effect`, the root mean square effect of a channel, mean over channels; `half_share`, the share of channels
    that carry half of the sum of these; `correlation` and `partial` with limits, see `stats.effects`. Channels: their
    `effect` and their gate's `omega_squared`, with the site's correlation. All together: means over sites.
    """
    effects = recording.of("effect")

    def measured(site: SiteLike) -> tuple[dict[str, Any], pd.DataFrame, SelectivityAndSize]:
        gate, effect = site_moments(recording, site), site_moments(effects, site)
        groups = class_groups(len(gate.names))
        found = selectivity_and_size(gate, effect, groups)
        sizes = effect_size(effect)
        return _site_row(gate, sizes, found), _channel_rows(gate, sizes, found), found

    rows, channels, found = zip(*each_site(measured, sites), strict=True)
    table = pd.DataFrame(list(rows))
    return table, pd.concat(channels, ignore_index=True), _overall(table, found)


def _site_row(gate: SiteMoments, sizes: Floats, found: SelectivityAndSize) -> dict[str, Any]:
    site, plain, partial = gate.site, found.plain, found.partial
    return {
        "site": site.name,
        "stage": site.stage,
        "block": site.block,
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


def _channel_rows(gate: SiteMoments, sizes: Floats, found: SelectivityAndSize) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "site": gate.site.name,
            **_places(gate.site, 1),
            "omega_squared": omega_squared(gate.components),
            "effect": sizes,
            "site_correlation": found.plain.value,
        }
    )


def _overall(table: pd.DataFrame, found: Sequence[SelectivityAndSize]) -> pd.DataFrame:
    """One row: means over sites, with limits from draws that leave out the same classes at every site."""
    groups = int(class_groups(int(table["classes"].min())).max()) + 1
    row: dict[str, Any] = {
        "sites": len(table),
        "channels": int(table["channels"].sum()),
        "classes": int(table["classes"].min()),
        "half_share": float(table["half_share"].median()),
    }
    for place, name in enumerate(("correlation", "partial")):
        draws = np.mean([one.draws[place] for one in found], axis=0)
        mean = limits_of(float(table[name].mean()), draws, groups)
        low = "ci_low" if place == 0 else "partial_ci_low"
        row |= {name: mean.value, low: mean.low, low.replace("low", "high"): mean.high}
    return pd.DataFrame([row])
