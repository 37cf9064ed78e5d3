"""How gates respond to changes of the images: the same images plain and changed, compared image by image.

Source of the detection of changed images: Lee et al., NeurIPS 2018 (distance); Hendrycks and Gimpel, ICLR 2017
(softmax); Liu et al., NeurIPS 2020 (energy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from se_probe.analysis.gates import class_moments, columns_of, place_of
from se_probe.analysis.protocols import SiteLike
from se_probe.analysis.scale import matched_gates, matched_images, quantity_of, site_value
from se_probe.analysis.shifts import LEVEL, NEGLIGIBLE, NOT_FOUND, UNJUDGED, shift_estimates
from se_probe.analysis.stats.detection import left_out_distances, paired_curve
from se_probe.analysis.stats.intervals import NORMAL, Interval
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import (
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
from se_probe.analysis.summary import Summary

if TYPE_CHECKING:
    from se_probe.recording import Recording

PLAIN = "plain"
"""Key of the images as they are."""
MOVES = "moves"
CONDITION = ("condition", "change", "strength")
"""First columns of every table: label, name and strength of the change."""
ALL_SITES = "all sites"
GATES, POOLED, SOFTMAX, ENERGY = "gates", "pooled features", "softmax", "energy"
"""Scores by which changed images are detected."""


def change_sites(recordings: Mapping[str, Recording], *, seed: int = 0) -> pd.DataFrame:
    """Test at every site whether a change moves its gates, and measure how far.

    `recordings` are by label, the plain images under `PLAIN`.

    A row a change and site: `CONDITION`; `site`, `stage`, `block`, `depth` (0 … 1), `images`, `classes`. `moved`, the
    mean over images and channels of the absolute difference to the same image's gate, in gate units, classes with equal
    weights, with 95 % limits (studentized bootstrap over images, or over classes where there are ten); `sd`, the
    standard deviation of the plain images' gates over images, root mean square over channels; `moved_sd`, `moved` over
    `sd`, with the same limits over the same `sd`. `pattern_p` of the test that no channel's mean moves
    (`pattern_test`), `pattern_p_holm` over the sites of a change, and `pattern`: "moves" where that is below 0.05 and
    `moved` reaches 0.001, "no shift found", or "cannot be judged". Last the quantity that `shift_tests` follows (the
    mean gate, or the attention of the largest kernel less that of the smallest), with its `effect`, `ci_low`,
    `ci_high`, `p`, `p_holm` and `verdict`.
    """
    rows, plain = matched_images(recordings, verb="change"), recordings[PLAIN]
    before = {site.name: matched_gates(plain, site, rows[PLAIN]) for site in plain.sites}
    tables = [
        _site_tests(recordings[key], facts, plain.sites, before, rows, seed) for key, facts in _conditions(recordings)
    ]
    return pd.concat(tables, ignore_index=True)


def _site_tests(
    changed: Recording,
    facts: Mapping[str, Any],
    sites: Sequence[SiteLike],
    before: Mapping[str, xr.DataArray],
    rows: pd.DataFrame,
    seed: int,
) -> pd.DataFrame:
    labels, table, values = _labels(rows), [], {}
    for site, depth in zip(sites, np.linspace(0, 1, len(sites)), strict=True):
        plain, after = before[site.name], matched_gates(changed, site, rows[str(facts["condition"])])
        difference = (after - plain).to_numpy().reshape(len(rows), -1)
        values[site.name] = (site_value(after, site) - site_value(plain, site)).to_numpy()
        sizes = strata(np.abs(difference).mean(axis=1, keepdims=True), labels)
        moved = _with_limits("moved", studentized_interval(sizes, seed=seed))
        sd = float(np.sqrt(np.mean(np.var(plain.to_numpy().reshape(len(rows), -1), axis=0, ddof=1))))
        in_sd = {name.replace("moved", "moved_sd"): value / sd if sd > 0 else np.nan for name, value in moved.items()}
        patterns = strata(difference, labels)
        table.append(
            {
                **facts,
                **place_of(site),
                "depth": float(depth),
                "images": len(rows),
                "classes": rows["class"].nunique(),
                **moved,
                "sd": sd,
                **in_sd,
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


def change_channels(recordings: Mapping[str, Recording]) -> pd.DataFrame:
    """Measure how far a change moves every channel, on average over images, classes with equal weights.

    A row a change, site, branch and channel: `CONDITION`, `site`, `branch`, `channel`; `shift` in gate units with its
    95 % limits over images of these classes (normal, stratified by class), not corrected for their number; `sd` over
    the plain images, and `shift_sd`, `shift` over `sd` (NaN where the plain gate does not move).
    """
    rows, plain = matched_images(recordings, verb="change"), recordings[PLAIN]
    labels, tables = _labels(rows), []
    for site in plain.sites:
        before = matched_gates(plain, site, rows[PLAIN]).to_numpy().reshape(len(rows), -1)
        sd = np.std(before, axis=0, ddof=1)
        for key, facts in _conditions(recordings):
            after = matched_gates(recordings[key], site, rows[key]).to_numpy().reshape(len(rows), -1)
            units = image_strata(after - before, labels)
            reach = NORMAL * units.standard_error
            table = pd.DataFrame({"shift": units.mean, "ci_low": units.mean - reach, "ci_high": units.mean + reach})
            shift_sd = np.divide(units.mean, sd, out=np.full_like(sd, np.nan), where=sd > 0)
            tables.append(columns_of(site).join(table).assign(sd=sd, shift_sd=shift_sd, **facts))
    columns = [*CONDITION, "site", "branch", "channel", "shift", "ci_low", "ci_high", "sd", "shift_sd"]
    return pd.concat(tables, ignore_index=True)[columns]


def change_accuracy(recordings: Mapping[str, Recording], *, seed: int = 0) -> pd.DataFrame:
    """Compare the network's answers on the same images, plain and changed.

    A row a change: `CONDITION`, `images`, `labelled` (images whose class the network has a unit for); over these,
    classes with equal weights, `plain_top1`, `top1`, `top1_change` with 95 % limits (`flip_interval`), `p` of the
    sign-flip test and `p_holm` over changes; over all images `agreement`, the share of images that keep their first
    choice, with limits (`share_interval`). NaN where there is no such image.
    """
    rows, table = matched_images(recordings, verb="change"), []
    plain = recordings[PLAIN].images.loc[rows[PLAIN]].reset_index(drop=True)
    for key, facts in _conditions(recordings):
        changed = recordings[key].images.loc[rows[key]].reset_index(drop=True)
        chosen = plain["predicted_index"].notna() & changed["predicted_index"].notna()
        known = chosen & plain["class_index"].notna()
        right = [
            np.asarray((item["predicted_index"] == item["class_index"])[known], dtype=np.float64)
            for item in (plain, changed)
        ]
        same = np.asarray((plain["predicted_index"] == changed["predicted_index"])[chosen], dtype=np.float64)
        counts = {"images": len(rows), "labelled": int(known.sum())}
        top1 = _top1(right, _labels(rows[known.to_numpy()]), seed)
        table.append({**facts, **counts, **top1, **_agreement(same, _labels(rows[chosen.to_numpy()]))})
    found = pd.DataFrame(table)
    found.insert(list(found.columns).index("p") + 1, "p_holm", holm(found["p"].to_numpy()))
    return found


def _top1(right: Sequence[Floats], labels: NDArray[np.int64], seed: int) -> dict[str, float]:
    """Top-1 of plain and changed images, from whether each image is right, and its change with limits and p."""
    if not len(labels):
        names = ("plain_top1", "top1", "top1_change", "top1_ci_low", "top1_ci_high", "p")
        return dict.fromkeys(names, np.nan)
    flips = image_strata((right[1] - right[0])[:, None], labels)
    plain, changed = (float(image_strata(item[:, None], labels).mean[0]) for item in right)
    change = _with_limits("top1", flip_interval(flips))
    numbers = {"plain_top1": plain, "top1": changed, "top1_change": change.pop("top1"), **change}
    return {**numbers, "p": float(sign_flip_test(flips, seed=seed)[0])}


def _agreement(same: Floats, labels: NDArray[np.int64]) -> dict[str, float]:
    unknown = Interval.unknown(np.array([np.nan]))
    return _with_limits("agreement", share_interval(image_strata(same[:, None], labels)) if len(labels) else unknown)


def change_detection(recordings: Mapping[str, Recording], energies: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Measure how well gates detect changed images, beside scores of the network's output.

    A score is measured by the area under its curve (AUC): 0.5 is chance, and below it changed images look more like
    plain ones than plain images do. The score of gates is the squared distance to the nearest class mean in standard
    deviations within classes, with the image itself left out of the moments (`left_out_distances`); that of pooled
    features is the same for the squeeze, from which the gate is computed; "all sites" sums over all sites. Softmax is
    the negative highest probability, energy −log Σ exp of the logits.

    Args:
        recordings: by label, the plain images under `PLAIN`, with the squeeze captured where sites have one.
        energies: by the same labels, a series of energies indexed by image path.

    Returns:
        One row per change, score and site (`ALL_SITES` for scores of the output too): `CONDITION`, `score`, `site`,
        `images`, `auc`, `auc_ci_low`, `auc_ci_high`; for gates also `minus_softmax`, `minus_energy` and `minus_pooled`,
        the AUC minus that of the other score (the last at the same site), with limits. Limits are for another draw of
        images of these classes.
    """
    rows = matched_images(recordings, verb="change")
    scores = {key: _scores(recordings, key, rows, energies[key]) for key in recordings}
    tables = [_compared(scores[PLAIN], scores[key], facts) for key, facts in _conditions(recordings)]
    return pd.concat(tables, ignore_index=True)


def _scores(recordings: Mapping[str, Recording], key: str, rows: pd.DataFrame, energies: pd.Series) -> pd.DataFrame:
    """Scores of the images under a condition: a row an image, columns (score, site)."""
    found: dict[tuple[str, str], Floats] = {}
    for name, signal in ((GATES, "gate"), (POOLED, "squeeze")):
        if signal in recordings[PLAIN].signals:
            plain, changed = recordings[PLAIN].of(signal), recordings[key].of(signal)
            distances = {site.name: _distance(plain, changed, site, rows, key) for site in plain.sites}
            found[name, ALL_SITES] = np.sum(list(distances.values()), axis=0)
            found |= {(name, site): values for site, values in distances.items()}
    images = recordings[key].images.loc[rows[key]]
    found[SOFTMAX, ALL_SITES] = -images["probability"].to_numpy(dtype=np.float64)
    found[ENERGY, ALL_SITES] = energies.reindex(rows["path"]).to_numpy(dtype=np.float64)
    return pd.DataFrame(found)


def _distance(plain: Recording, changed: Recording, site: SiteLike, rows: pd.DataFrame, key: str) -> Floats:
    moments = class_moments(plain, site)
    labels = np.array([moments.names.index(name) for name in rows["class"]], dtype=np.int64)
    before, after = (
        matched_gates(item, site, rows[which]).to_numpy().reshape(len(rows), -1)
        for item, which in ((plain, PLAIN), (changed, key))
    )
    return left_out_distances(after, before, labels, moments)


def _compared(plain: pd.DataFrame, changed: pd.DataFrame, facts: Mapping[str, Any]) -> pd.DataFrame:
    curve = paired_curve(plain.to_numpy(), changed.to_numpy())
    names = [(str(name[0]), str(name[1])) for name in plain.columns]
    interval, table = curve.interval(), []
    for index, (score, site) in enumerate(names):
        row = {**facts, "score": score, "site": site, "images": len(plain), **_with_limits("auc", interval, index)}
        for name, other in (
            ("softmax", (SOFTMAX, ALL_SITES)),
            ("energy", (ENERGY, ALL_SITES)),
            ("pooled", (POOLED, site)),
        ):
            known = score == GATES and other in names
            found = curve.difference(index, names.index(other)) if known else (np.nan, np.nan, np.nan)
            row |= dict(zip((f"minus_{name}", f"minus_{name}_ci_low", f"minus_{name}_ci_high"), found, strict=True))
        table.append(row)
    return pd.DataFrame(table)


def _with_limits(name: str, interval: Interval, column: int = 0) -> dict[str, float]:
    """One column of an interval as `name`, `…_ci_low` and `…_ci_high`."""
    ends = {name: interval.estimate, f"{name}_ci_low": interval.low, f"{name}_ci_high": interval.high}
    return {key: float(values[column]) for key, values in ends.items()}


def _conditions(recordings: Mapping[str, Recording]) -> list[tuple[str, dict[str, Any]]]:
    """The changes, without the plain images, and the first columns of their rows, `CONDITION`."""
    changes = [(key, item.provenance["change"]) for key, item in recordings.items() if key != PLAIN]
    return [(key, {"condition": key, "change": facts["name"], "strength": facts["strength"]}) for key, facts in changes]


def _labels(rows: pd.DataFrame) -> NDArray[np.int64]:
    """The class of each row, numbered in order of appearance."""
    return pd.factorize(rows["class"])[0].astype(np.int64)


def change_sentences(sites: pd.DataFrame, accuracy: pd.DataFrame, detection: pd.DataFrame) -> list[str]:
    """Summarise in three sentences what moved, the change of accuracy, and the detection of changed images by gates."""
    return [_moved_sentence(sites), _accuracy_sentence(accuracy), _detection_sentence(detection)]


def _moved_sentence(sites: pd.DataFrame) -> str:
    if sites["moved_sd"].isna().all():
        return (
            "Gates of the plain images do not move at any site, so that shifts have no standard deviation to compare."
        )
    top = sites.loc[[sites["moved_sd"].idxmax()]].to_dict("records")[0]
    mean = sites.groupby("condition", sort=False)["moved_sd"].mean()
    most, least = str(mean.idxmax()), str(mean.idxmin())
    moving = (sites["pattern"] == MOVES).groupby(sites["condition"], sort=False).sum()
    number = sites["site"].nunique()
    several = len(mean) > 1
    smallest = f", and least under {least}, by {mean[least]:.2f} (at {moving[least]} of {number})" if several else ""
    return (
        f"Gates move {'most ' if several else ''}under {most}, by {mean[most]:.2f} standard deviations of the plain "
        f"images on average over sites (a shift is found at {moving[most]} of {number}){smallest}; the farthest is "
        f"{top['moved_sd']:.2f} SD, {top['moved']:.3f} in gate units, at {top['site']} under {top['condition']}."
    )


def _accuracy_sentence(accuracy: pd.DataFrame) -> str:
    if accuracy["top1_change"].isna().all():
        return "Accuracy is unknown: the network has no output unit for the images' classes."
    worst = accuracy.loc[[accuracy["top1_change"].idxmin()]].to_dict("records")[0]
    found = accuracy[accuracy["p_holm"] <= LEVEL]
    return (
        f"Accuracy changes under {len(found)} of {len(accuracy)} changes (Holm); most under {worst['condition']}, from "
        f"{100 * worst['plain_top1']:.1f} to {100 * worst['top1']:.1f} %, {100 * worst['top1_change']:+.1f} points "
        f"[{100 * worst['top1_ci_low']:+.1f}, {100 * worst['top1_ci_high']:+.1f}], on {worst['labelled']} images."
    )


def _detection_sentence(detection: pd.DataFrame) -> str:
    gates = detection[(detection["score"] == GATES) & (detection["site"] == ALL_SITES)].set_index("condition")
    by_auc = gates["auc"].dropna().sort_values(kind="stable")
    ends = dict.fromkeys(f"{auc:.2f} under {name}" for name, auc in by_auc.iloc[[0, -1]].items())
    found = int((gates["auc_ci_low"] > 0.5).sum())
    parts = [
        f"Gates of all sites tell changed images from plain ones under {found} of {len(gates)} changes (AUC "
        f"{' to '.join(ends)})"
    ]
    for name, words in (("energy", "the energy score"), ("softmax", "softmax"), ("pooled", "pooled features")):
        if gates[f"minus_{name}"].notna().any():
            better = int((gates[f"minus_{name}_ci_low"] > 0).sum())
            worse = int((gates[f"minus_{name}_ci_high"] < 0).sum())
            parts.append(f"better than {words} under {better} and worse under {worse}")
    return "; ".join(parts) + "."


def change_summary(sites: pd.DataFrame, accuracy: pd.DataFrame, detection: pd.DataFrame) -> Summary:
    """Summarise a run of changes: its sentences, then a line a change. There is no command to suggest.

    Args:
        sites: the table of `change_sites`.
        accuracy: the table of `change_accuracy`.
        detection: the table of `change_detection`.
    """
    of_gates = detection[(detection["score"] == GATES) & (detection["site"] == ALL_SITES)]
    scores = of_gates.set_index("condition")["auc"].to_dict()
    lines = []
    for row in accuracy.to_dict("records"):
        name = str(row["condition"])
        own = sites[sites["condition"] == name]
        parts = [f"gates move at {(own['pattern'] == MOVES).sum()} of {len(own)} sites"]
        if own["moved_sd"].notna().any():
            parts[0] += f", by {own['moved_sd'].mean():.2f} SD"
        if pd.notna(row["top1_change"]):
            parts.append(f"top-1 {100 * row['top1_change']:+z.1f} points")
        parts.append(f"AUC {scores[name]:.2f}")
        lines.append(f"{name}: {'; '.join(parts)}")
    return Summary(tuple(change_sentences(sites, accuracy, detection)), tuple(lines), None)
