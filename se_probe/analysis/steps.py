"""Gates over training steps or a sweep: the same images through a network at each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from se_probe.analysis.comparison import site_profile
from se_probe.analysis.shared_images import NarrowedRecording, shared_images

if TYPE_CHECKING:
    from se_probe.recording import Recording

STILL = ("saturated", "collapsed", "constant")
"""Verdicts of sites whose gates hardly depend on the image."""


def step_sites(recordings: Mapping[str, Recording], steps: Mapping[str, float], *, seed: int = 0) -> pd.DataFrame:
    """Measure every site at every step, on the images that all recordings have.

    Recordings are by label, two or more, in the order of steps.

    One row per step and site: `label`, `step`, and the columns of `Comparison.sites` (`site`, `depth`, `mean_gate`,
    `sd`, `dynamic`, `open`, `closed`, `constant`, `verdict`, `specificity` with its limits, …); where effects were
    captured, `effect`, the mean absolute effect over images and channels.
    """
    shared, tables = shared_images(recordings), []
    for label, recording in recordings.items():
        table = site_profile(label, NarrowedRecording(recording, shared), seed=seed).rename(columns={"run": "label"})
        table.insert(1, "step", steps[label])
        if "effect" in recording.signals:
            effects = recording.of("effect")
            table["effect"] = [float(np.abs(effects.gates(site.name)).mean()) for site in effects.sites]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def step_events(sites: pd.DataFrame) -> pd.DataFrame:
    """Find the first step at which the gates of each site hardly depend on the image.

    One row per site: `site`, `first_step` and `first_label` (missing where there is none), the `verdict` there, and
    whether the site was live at an earlier step (`live_before`) and at a later one (`live_after`).
    """
    rows = []
    for site, table in sites.groupby("site", sort=False):
        still = np.flatnonzero(table["verdict"].isin(STILL))
        row = {"site": site, "first_step": np.nan, "first_label": None, "verdict": None}
        if len(still):
            first = table.iloc[still[0]]
            live = table["verdict"] == "live"
            row |= {"first_step": first["step"], "first_label": first["label"], "verdict": first["verdict"]}
            row |= {"live_before": bool(live[: still[0]].any()), "live_after": bool(live[still[0] :].any())}
        rows.append(row)
    columns = ["site", "first_step", "first_label", "verdict", "live_before", "live_after"]
    return pd.DataFrame(rows).reindex(columns=columns)


def step_accuracy(recordings: Mapping[str, Recording], steps: Mapping[str, float]) -> pd.DataFrame:
    """Return top-1 of the chosen images at every step, classes with equal weights; NaN without classes in common.

    Columns: `label`, `step`, `images` (those of classes that the network has a unit for), `top1`.
    """
    rows = []
    for label, recording in recordings.items():
        images = recording.images
        known = images[(images["role"] == "chosen") & images["class_index"].notna() & images["predicted_index"].notna()]
        right = (known["predicted_index"] == known["class_index"]).astype(float).groupby(known["class"]).mean()
        rows.append({"label": label, "step": steps[label], "images": len(known), "top1": right.mean()})
    return pd.DataFrame(rows)


def step_sentences(sites: pd.DataFrame, events: pd.DataFrame, accuracy: pd.DataFrame) -> list[str]:
    """Summarise in three sentences which sites stopped moving and when, the spread of gates, and the accuracy."""
    first, last = (str(sites["label"].iloc[row]) for row in (0, -1))
    fallen = events[events["live_before"].eq(True)]
    always = events[events["first_label"].eq(first)]
    number = len(events)
    if len(fallen):
        groups = fallen.groupby(["verdict", "first_label"], sort=False)["site"]
        parts = [f"{', '.join(names)} {verdict} at {label}" for (verdict, label), names in groups]
        stopped = f"The gates of {len(fallen)} of {number} sites stop depending on the image: {'; '.join(parts)}"
    else:
        stopped = f"The gates of no site that was live stop depending on the image ({number} sites)"
    if len(always):
        stopped += f"; those of {', '.join(always['site'])} hardly depend on it at the first step"
    spread = sites.groupby("label", sort=False)["sd"].median()
    share = sites.groupby("label", sort=False)["specificity"].median()
    sentences = [
        stopped + ".",
        f"The spread over images is {spread[first]:.2g} at {first} and {spread[last]:.2g} at {last} (median site, gate "
        f"units), class specificity ω² {share[first]:.2f} and {share[last]:.2f}.",
    ]
    if accuracy["top1"].notna().all():
        ends = [100 * float(accuracy["top1"].iloc[row]) for row in (0, -1)]
        best = accuracy.loc[[accuracy["top1"].idxmax()]].to_dict("records")[0]
        sentences.append(
            f"Top-1 is {ends[0]:.1f} % at {first} and {ends[1]:.1f} % at {last}, highest at {best['label']} with "
            f"{100 * best['top1']:.1f} %, on {best['images']} images."
        )
    return sentences
