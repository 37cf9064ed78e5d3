"""Networks side by side on the same images: what their gates do by relative depth, and how alike they are."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from se_probe.analysis.comparison_summary import comparison_summary
from se_probe.analysis.gates import site_gates, site_moments
from se_probe.analysis.health import site_health
from se_probe.analysis.shared_images import NarrowedRecording, SharedImages, shared_images
from se_probe.analysis.specificity import site_specificity
from se_probe.analysis.stats import intervals
from se_probe.analysis.stats.alignment import FEWEST_CLASSES, centred_gram, cka_matrix, linear_cka, rsa_matrix
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.similarity import matrix_correlations, rms_distance, squared_distance

if TYPE_CHECKING:
    from se_probe.recording import Recording

MOST_IMAGES = 1000
"""Images beyond this, evenly spaced ones are taken for CKA, whose cost grows with their square."""

_HEALTH = ("mean_gate", "sd", "dynamic", "open", "closed", "constant", "effective_rank", "effective_rank_limit")
_ESTIMATES = ("cka", "cka_ci_low", "cka_ci_high", "rsa", "rsa_ci_low", "rsa_ci_high")
_FACTS = ("depth", "sd", "between_class_sd", "within_class_sd", "verdict")


@dataclass(frozen=True, repr=False)
class Comparison:
    """Networks side by side.

    Attributes:
        runs: labels of the runs, in the order given.
        shared: the images and classes that all is computed from.
        sites: one row a run and site. `depth`: place of the site over the sites − 1, 0 … 1. The facts of
            `site_facts`; `specificity` with `specificity_ci_low` and `specificity_ci_high`, ω² as `specificity_over`
            says: "classes" (all shared classes, another draw of classes) or "images" (chosen classes, another
            draw of images), the latter where too few classes are shared; and what `site_health` says.
        alignment: one row a pair of runs, site of the first and site of the other: `cka` and `rsa`, and the
            depth, spread in gate units and verdict of both sites as `first_…` and `other_…`.
        matches: one row a run, other run and site: the other's site (`match`) with the highest CKA, with
            `cka`, `cka_ci_low`, `cka_ci_high`, `rsa`, `rsa_ci_low`, `rsa_ci_high`, and the facts of both sites.
            Being the highest of many, a match is likely to be overrated, which the limits do not allow for.
    """

    runs: tuple[str, ...]
    shared: SharedImages
    sites: pd.DataFrame
    alignment: pd.DataFrame
    matches: pd.DataFrame

    def __repr__(self) -> str:
        told = comparison_summary(self)
        return "\n  ".join([f"<se_probe.Comparison {self._about()}>", *told.sentences, *told.claims])

    def _repr_html_(self) -> str:
        """Show the results in words in a notebook."""
        told = comparison_summary(self)
        items = "".join(f"<li>{html.escape(line)}</li>" for line in (*told.sentences, *told.claims))
        return f"<div><strong>Comparison</strong> {html.escape(self._about())}<ul>{items}</ul></div>"

    def _about(self) -> str:
        return f"{', '.join(self.runs)}: {len(self.shared.images)} shared images"


@dataclass(frozen=True)
class _Views:
    """Gram matrices over images and distances over classes, one of each a site."""

    names: list[str]
    grams: list[Floats]
    distances: list[Floats]


def compare_recordings(recordings: Mapping[str, Recording], *, resamples: int = 999, seed: int = 0) -> Comparison:
    """Compare recordings on the images that all of them have.

    CKA is over the shared chosen images, on gates flattened over branches; RSA is the rank correlation of the
    unbiased squared distances between class means, over all shared classes (NaN for fewer than ten).

    Args:
        recordings: label → recording, two or more.
        resamples: bootstrap resamples.
        seed: seed of the random numbers.

    Raises:
        SeProbeError: fewer than two recordings, or too few images in common.

    Source: `stats.alignment`.
    """
    shared = shared_images(recordings)
    narrowed = {label: NarrowedRecording(recording, shared) for label, recording in recordings.items()}
    sites = pd.concat(
        [site_profile(label, item, resamples=resamples, seed=seed) for label, item in narrowed.items()],
        ignore_index=True,
    )
    views = {label: _views(item) for label, item in narrowed.items()}
    pairs = [_pair(first, other, views) for first, other in combinations(views, 2)]
    matches = [_matches(first, other, views) for first in views for other in views if first != other]
    return Comparison(
        runs=tuple(recordings),
        shared=shared,
        sites=sites,
        alignment=_with_facts(pd.concat(pairs, ignore_index=True), sites, "first", "other"),
        matches=_with_facts(pd.concat(matches, ignore_index=True), sites, "run", "other"),
    )


def site_profile(label: str, recording: NarrowedRecording, *, resamples: int = 999, seed: int = 0) -> pd.DataFrame:
    """Return the rows of `Comparison.sites` of one run, called `label`."""
    specific = site_specificity(recording, resamples=resamples, seed=seed)
    health = site_health(recording)[["site", *_HEALTH]]
    prefix = "" if len(recording.classes) >= intervals.FEWEST_CLASSES else "chosen_"
    facts = specific[["site", "stage", "block", "classes", "images", "between_class_sd", "within_class_sd", "verdict"]]
    table = facts.assign(
        specificity=specific[f"{prefix}omega_squared"],
        specificity_ci_low=specific[f"{prefix}ci_low"],
        specificity_ci_high=specific[f"{prefix}ci_high"],
        specificity_over="images" if prefix else "classes",
    ).merge(health, on="site", validate="one_to_one")
    table.insert(0, "run", label)
    table.insert(2, "depth", np.linspace(0, 1, len(table)))
    return table


def _views(recording: NarrowedRecording) -> _Views:
    grams, distances = [], []
    for site in recording.sites:
        values, moments = site_gates(recording, site).values, site_moments(recording, site)
        taken = np.linspace(0, len(values) - 1, min(len(values), MOST_IMAGES)).round().astype(int)
        grams.append(centred_gram(values[taken]))
        distances.append(squared_distance(rms_distance(moments.mean.T), moments))
    return _Views([site.name for site in recording.sites], grams, distances)


def _pair(first: str, other: str, views: Mapping[str, _Views]) -> pd.DataFrame:
    left, right = views[first], views[other]
    return pd.DataFrame(
        {
            "first": first,
            "other": other,
            "first_site": np.repeat(left.names, len(right.names)),
            "other_site": np.tile(right.names, len(left.names)),
            "cka": cka_matrix(left.grams, right.grams).ravel(),
            "rsa": rsa_matrix(left.distances, right.distances).ravel(),
        }
    )


def _matches(run: str, other: str, views: Mapping[str, _Views]) -> pd.DataFrame:
    """The match of each site; one whose gates do not vary at all has none."""
    left, right = views[run], views[other]
    rows = []
    for row, alike in enumerate(cka_matrix(left.grams, right.grams)):
        match: dict[str, object] = {"run": run, "other": other, "run_site": left.names[row], "other_site": None}
        if np.isfinite(alike).any():
            column = int(np.nanargmax(alike))
            cka = linear_cka(left.grams[row], right.grams[column])
            match |= {"other_site": right.names[column], "cka": cka.estimate}
            match |= {"cka_ci_low": cka.low, "cka_ci_high": cka.high}
            if len(left.distances[row]) >= FEWEST_CLASSES:
                (rsa,) = matrix_correlations([left.distances[row]], right.distances[column], permutations=0)
                match |= {"rsa": rsa.correlation, "rsa_ci_low": rsa.low, "rsa_ci_high": rsa.high}
        rows.append(match)
    table = pd.DataFrame(rows, columns=["run", "other", "run_site", "other_site", *_ESTIMATES])
    return table.astype(dict.fromkeys(_ESTIMATES, np.float64))


def _with_facts(table: pd.DataFrame, sites: pd.DataFrame, *sides: str) -> pd.DataFrame:
    """Add depth, spread and verdict of both sites, which a measure without scale does not show."""
    for side in sides:
        facts = sites[["run", "site", *_FACTS]].rename(columns={name: f"{side}_{name}" for name in _FACTS})
        facts = facts.rename(columns={"run": side, "site": f"{side}_site"})
        table = table.merge(facts, on=[side, f"{side}_site"], how="left", validate="many_to_one")
    return table
