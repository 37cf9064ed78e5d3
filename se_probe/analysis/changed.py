"""How gates respond to changes of the images: the same images plain and changed, compared image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from se_probe.analysis.protocols import SiteLike
from se_probe.analysis.scale import matched_images, quantity_of, site_value
from se_probe.analysis.shifts import LEVEL, NEGLIGIBLE, shift_estimates
from se_probe.analysis.stats.intervals import NORMAL
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import (
    Strata,
    flip_interval,
    holm,
    image_strata,
    pattern_test,
    share_interval,
    sign_flip_test,
    smallest_p,
    strata,
    studentized_interval,
)

if TYPE_CHECKING:
    from se_probe.recording import Recording

PLAIN = "plain"
"""Key of the images as they are."""
MOVES, NOT_FOUND, UNJUDGED = "moves", "no shift found", "cannot be judged"
CONDITION = ("condition", "change", "strength")
Changes: TypeAlias = "Mapping[str, Recording]"


def conditions_of(recordings: Changes) -> list[tuple[str, dict[str, Any]]]:
    """Return the changes, without the plain images, and the first columns of their rows, `CONDITION`."""
    return [
        (key, {"condition": key, "change": facts["name"], "strength": facts["strength"]})
        for key, facts in ((key, item.provenance["change"]) for key, item in recordings.items() if key != PLAIN)
    ]


def change_sites(recordings: Changes, *, seed: int = 0) -> pd.DataFrame:
    """Test at every site whether a change moves its gates, and measure how far.

    Args:
        recordings: label → recording of the same images, the plain ones under `PLAIN`.
        seed: seed of the random numbers.

    Returns:
        A row a change and site: `CONDITION`; `site`, `stage`, `block`, `depth` (0 … 1), `images`, `classes`. `moved`,
        the mean over images and channels of the absolute difference to the same image's gate, in gate units, classes
        with equal weights, with 95 % limits (studentized bootstrap over images, or over classes where there are ten);
        `sd`, the standard deviation of the plain images' gates over images, root mean square over channels; `moved_sd`,
        `moved` over `sd`, with the same limits over the same `sd`. `pattern_p` of the test that no channel's mean moves
        (`pattern_test`), `pattern_p_holm` over the sites of a change, and `pattern`: "moves" where that is below 0.05
        and `moved` reaches 0.001, "no shift found", or "cannot be judged". Last the quantity that `shift_tests` follows
        (the mean gate, or the attention of the largest kernel less that of the smallest), with its `effect`, `ci_low`,
        `ci_high`, `p`, `p_holm` and `verdict`.

    Raises:
        SeProbeError: no image is in every recording.
    """
    rows, plain = matched_images(recordings, verb="change"), recordings[PLAIN]
    before = {site.name: condition_gates(plain, site, rows[PLAIN]) for site in plain.sites}
    return pd.concat(
        [
            _site_tests(recordings[key], facts, plain.sites, before, rows, seed)
            for key, facts in conditions_of(recordings)
        ],
        ignore_index=True,
    )


def _site_tests(
    changed: Recording,
    facts: Mapping[str, Any],
    sites: Sequence[SiteLike],
    before: Mapping[str, xr.DataArray],
    rows: pd.DataFrame,
    seed: int,
) -> pd.DataFrame:
    labels = class_places(rows)
    table, values = [], {}
    for place, site in enumerate(sites):
        plain, after = before[site.name], condition_gates(changed, site, rows[str(facts["condition"])])
        difference = (after - plain).to_numpy().reshape(len(rows), -1)
        values[site.name] = (site_value(after, site) - site_value(plain, site)).to_numpy()
        units = strata(np.abs(difference).mean(axis=1, keepdims=True), labels)
        moved = studentized_interval(units, seed=seed)
        sd = float(np.sqrt(np.mean(np.var(plain.to_numpy().reshape(len(rows), -1), axis=0, ddof=1))))
        limits = [float(item[0]) for item in (moved.estimate, moved.low, moved.high)]
        patterns = strata(difference, labels)
        table.append(
            {
                **facts,
                "site": site.name,
                "stage": site.stage,
                "block": site.block,
                "depth": place / max(len(sites) - 1, 1),
                "images": len(rows),
                "classes": rows["class"].nunique(),
                **dict(zip(("moved", "moved_ci_low", "moved_ci_high"), limits, strict=True)),
                "sd": sd,
                **{
                    name: limit / sd if sd > 0 else np.nan
                    for name, limit in zip(("moved_sd", "moved_sd_ci_low", "moved_sd_ci_high"), limits, strict=True)
                },
                "pattern_p": pattern_test(patterns, seed=seed),
                "enough": smallest_p(patterns.units) * len(sites) <= LEVEL,
                "quantity": quantity_of(site),
            }
        )
    found = pd.DataFrame(table)
    found["pattern_p_holm"] = holm(found["pattern_p"].to_numpy())
    moves = (found["pattern_p_holm"] <= LEVEL) & (found["moved"] >= NEGLIGIBLE)
    found["pattern"] = np.where(found.pop("enough"), np.where(moves, MOVES, NOT_FOUND), UNJUDGED)
    return found.join(_level_shifts(pd.DataFrame(values), rows, sites, seed), on="site")


def _level_shifts(values: pd.DataFrame, rows: pd.DataFrame, sites: Sequence[SiteLike], seed: int) -> pd.DataFrame:
    quantities = pd.Series({site.name: quantity_of(site) for site in sites})
    judged = values.loc[:, values.notna().all()]
    found = shift_estimates(judged, rows["class"], quantities, seed)
    shown = ["effect", "ci_low", "ci_high", "p", "p_holm", "verdict"]
    return found[shown].reindex(quantities.index).fillna({"verdict": UNJUDGED})


def change_channels(recordings: Changes) -> pd.DataFrame:
    """Measure how far a change moves every channel, on average over images, classes with equal weights.

    Returns:
        A row a change, site, branch and channel: `CONDITION`, `site`, `branch`, `channel`; `shift` in gate units with
        its 95 % limits over images of these classes (normal, stratified by class), not corrected for their number;
        `sd` over the plain images, and `shift_sd`, `shift` over `sd` (NaN where the plain gate does not move).

    Raises:
        SeProbeError: no image is in every recording.
    """
    rows, plain = matched_images(recordings, verb="change"), recordings[PLAIN]
    labels, tables = class_places(rows), []
    for site in plain.sites:
        before = condition_gates(plain, site, rows[PLAIN]).to_numpy().reshape(len(rows), -1)
        sd = np.std(before, axis=0, ddof=1)
        for key, facts in conditions_of(recordings):
            after = condition_gates(recordings[key], site, rows[key]).to_numpy().reshape(len(rows), -1)
            units = image_strata(after - before, labels)
            reach = NORMAL * _error(units)
            table = pd.DataFrame({"shift": units.mean, "ci_low": units.mean - reach, "ci_high": units.mean + reach})
            shift_sd = np.divide(units.mean, sd, out=np.full_like(sd, np.nan), where=sd > 0)
            branch, channel = np.divmod(np.arange(len(table)), site.channels)
            table = table.assign(sd=sd, shift_sd=shift_sd, site=site.name, branch=branch, channel=channel, **facts)
            tables.append(table)
    columns = [*CONDITION, "site", "branch", "channel", "shift", "ci_low", "ci_high", "sd", "shift_sd"]
    return pd.concat(tables, ignore_index=True)[columns]


def _error(units: Strata) -> Floats:
    variances = [group.var(axis=0, ddof=1) / len(group) if len(group) > 1 else np.nan for group in units.groups]
    return np.asarray(np.sqrt(sum(variances)) / len(units.groups))


def change_accuracy(recordings: Changes, *, seed: int = 0) -> pd.DataFrame:
    """Compare what the network says of the same images, plain and changed.

    Returns:
        A row a change: `CONDITION`, `images`, `labelled` (images whose class the network has a unit for); over these,
        classes with equal weights, `plain_top1`, `top1`, `top1_change` with 95 % limits (`flip_interval`), `p` of the
        sign-flip test and `p_holm` over changes; over all images `agreement`, the share of images that keep their
        first choice, with limits (`share_interval`). NaN where there is no such image.
    """
    rows, table = matched_images(recordings, verb="change"), []
    plain = recordings[PLAIN].images.loc[rows[PLAIN]].reset_index(drop=True)
    for key, facts in conditions_of(recordings):
        changed = recordings[key].images.loc[rows[key]].reset_index(drop=True)
        chosen = plain["predicted_index"].notna() & changed["predicted_index"].notna()
        known = chosen & plain["class_index"].notna()
        right = [
            np.asarray((item["predicted_index"] == item["class_index"])[known], dtype=np.float64)
            for item in (plain, changed)
        ]
        same = np.asarray((plain["predicted_index"] == changed["predicted_index"])[chosen], dtype=np.float64)
        table.append(
            {
                **facts,
                "images": len(rows),
                "labelled": int(known.sum()),
                **_top1(right, class_places(rows[known.to_numpy()]), seed),
                **_agreement(same, class_places(rows[chosen.to_numpy()])),
            }
        )
    found = pd.DataFrame(table)
    found.insert(list(found.columns).index("p") + 1, "p_holm", holm(found["p"].to_numpy()))
    return found


def _top1(right: Sequence[Floats], labels: NDArray[np.int64], seed: int) -> dict[str, float]:
    names = ("plain_top1", "top1", "top1_change", "top1_ci_low", "top1_ci_high", "p")
    if not len(labels):
        return dict.fromkeys(names, np.nan)
    flips = image_strata((right[1] - right[0])[:, None], labels)
    found = flip_interval(flips)
    means = [float(image_strata(item[:, None], labels).mean[0]) for item in right]
    p = float(sign_flip_test(flips, seed=seed)[0])
    numbers = (*means, *(float(item[0]) for item in (found.estimate, found.low, found.high)), p)
    return dict(zip(names, numbers, strict=True))


def _agreement(same: Floats, labels: NDArray[np.int64]) -> dict[str, float]:
    names = ("agreement", "agreement_ci_low", "agreement_ci_high")
    if not len(labels):
        return dict.fromkeys(names, np.nan)
    found = share_interval(image_strata(same[:, None], labels))
    return dict(zip(names, (float(item[0]) for item in (found.estimate, found.low, found.high)), strict=True))


def condition_gates(recording: Recording, site: SiteLike, rows: pd.Series) -> xr.DataArray:
    """Gates of some images, `(image, [branch,] channel)`, in float64; images are numbered from 0."""
    gates = recording.gates(site.name).sel(image=rows.to_numpy()).astype(np.float64).compute()
    return gates.assign_coords(image=np.arange(len(rows)))


def class_places(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the class of each row, numbered in the order in which classes come."""
    return pd.factorize(rows["class"])[0].astype(np.int64)
