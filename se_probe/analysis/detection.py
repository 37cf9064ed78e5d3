"""Do gates tell changed images from plain ones: a distance to the recorded class moments, beside scores of the output.

Source: Lee et al., NeurIPS 2018 (distance); Hendrycks and Gimpel, ICLR 2017 (softmax); Liu et al., NeurIPS 2020
(energy).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from se_probe.analysis.changed import PLAIN, Changes, condition_gates, conditions_of
from se_probe.analysis.protocols import SiteLike
from se_probe.analysis.scale import matched_images
from se_probe.analysis.stats.detection import left_out_distances, paired_curve
from se_probe.analysis.stats.moments import Floats, Moments

if TYPE_CHECKING:
    from se_probe.recording import Recording

ALL_SITES = "all sites"
GATES, POOLED, SOFTMAX, ENERGY = "gates", "pooled features", "softmax", "energy"
"""Scores by which changed images are told from plain ones."""


def change_detection(recordings: Changes, energies: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Measure how well gates tell changed images from plain ones, beside the scores of the network's output.

    A score is compared by the area under its curve (AUC): 0.5 tells nothing, below 0.5 changed images look *more*
    like plain ones than plain images do. The score of gates is the squared distance to the nearest class mean in
    standard deviations within classes, with the image itself left out of the moments (`left_out_distances`); that of
    pooled features is the same of the squeeze, from which the gate is computed; "all sites" sums over all sites.
    Softmax is less the highest probability, energy −log Σ exp of the logits.

    Args:
        recordings: label → recording of the same images, with the squeeze captured where sites have one.
        energies: label → energies by path.

    Returns:
        A row a change, score and site (`ALL_SITES` for scores of the output too): `CONDITION`, `score`, `site`,
        `images`, `auc`, `auc_ci_low`, `auc_ci_high`; for gates also `minus_softmax`, `minus_energy` and
        `minus_pooled`, the AUC less that of the other score (the last at the same site), with limits. Limits are for
        another draw of images of these classes.
    """
    rows = matched_images(recordings, verb="change")
    scores = {key: _scores(recordings, key, rows, energies[key]) for key in recordings}
    tables = [_compared(scores[PLAIN], scores[key], facts) for key, facts in conditions_of(recordings)]
    return pd.concat(tables, ignore_index=True)


def _scores(recordings: Changes, key: str, rows: pd.DataFrame, energies: pd.Series) -> pd.DataFrame:
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
    recorded = plain.moments(site.name).compute()
    names = [str(name) for name in recorded["class"].to_numpy()]
    classes = len(names)
    moments = Moments(
        recorded["count"].to_numpy(),
        recorded["mean"].to_numpy().reshape(classes, -1).T,
        recorded["m2"].to_numpy().reshape(classes, -1).T,
    )
    labels = np.array([names.index(name) for name in rows["class"]], dtype=np.int64)
    before, after = (
        condition_gates(item, site, rows[which]).to_numpy().reshape(len(rows), -1)
        for item, which in ((plain, PLAIN), (changed, key))
    )
    return left_out_distances(after, before, labels, moments)


def _compared(plain: pd.DataFrame, changed: pd.DataFrame, facts: Mapping[str, Any]) -> pd.DataFrame:
    curve = paired_curve(plain.to_numpy(), changed.to_numpy())
    names = list(zip(*(map(str, plain.columns.get_level_values(level)) for level in (0, 1)), strict=True))
    interval = curve.interval()
    table = []
    for place, (score, site) in enumerate(names):
        limits = {"auc_ci_low": interval.low[place], "auc_ci_high": interval.high[place]}
        row = {**facts, "score": score, "site": site, "images": len(plain), "auc": curve.area[place], **limits}
        others = {"softmax": (SOFTMAX, ALL_SITES), "energy": (ENERGY, ALL_SITES), "pooled": (POOLED, site)}
        for name, other in others.items():
            found = (np.nan, np.nan, np.nan)
            if score == GATES and other in names:
                found = curve.difference(place, names.index(other))
            row |= dict(zip((f"minus_{name}", f"minus_{name}_ci_low", f"minus_{name}_ci_high"), found, strict=True))
        table.append(row)
    return pd.DataFrame(table)
