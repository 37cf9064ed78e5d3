"""Networks compared on the same images: their gates by relative depth, their similarity, and a summary."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from se_probe.analysis.gates import site_gates, site_moments
from se_probe.analysis.health import site_health
from se_probe.analysis.shared_images import NarrowedRecording, SharedImages, shared_images
from se_probe.analysis.specificity import site_specificity
from se_probe.analysis.stats import intervals
from se_probe.analysis.stats.alignment import FEWEST_CLASSES, centred_gram, cka_matrix, linear_cka, rsa_matrix
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.similarity import matrix_correlations, rms_distance, squared_distance
from se_probe.analysis.summary import Summary

if TYPE_CHECKING:
    from se_probe.recording import Recording

MOST_IMAGES = 1000
"""Most images for CKA, whose cost grows with their square; of more, evenly spaced ones are taken."""

_HEALTH = ("mean_gate", "sd", "dynamic", "open", "closed", "constant", "effective_rank", "effective_rank_limit")
_ESTIMATES = ("cka", "cka_ci_low", "cka_ci_high", "rsa", "rsa_ci_low", "rsa_ci_high")
_STILL = {
    "collapsed": "have collapsed",
    "saturated": "are saturated",
    "constant": "are constant",
    "unknown": "cannot be judged",
}
"""States of sites that are not live, the worst first, as predicates."""
_FACTS = ("depth", "sd", "between_class_sd", "within_class_sd", "verdict")


@dataclass(frozen=True, repr=False)
class Comparison:
    """Networks side by side.

    Attributes:
        runs: labels of the runs, in the order given.
        shared: the images and classes of the comparison.
        sites: one row a run and site: `depth`, 0 … 1; the facts of `site_facts`; `specificity`, ω², with
            `specificity_ci_low` and `specificity_ci_high`, over all shared classes (`specificity_over` is "classes",
            limits for another draw of classes) or, where these are too few, the chosen ones ("images", another draw of
            images); and columns of `site_health`.
        alignment: one row a pair of runs, site of the first and site of the other: `cka` and `rsa`, and the
            depth, spread in gate units and verdict of both sites as `first_…` and `other_…`.
        matches: one row a run, other run and site: the other's site with the highest CKA, with `cka`, `cka_ci_low`,
            `cka_ci_high`, `rsa`, `rsa_ci_low`, `rsa_ci_high`, and the facts of both sites. The highest of many is
            biased upwards, which the limits do not allow for.
    """

    runs: tuple[str, ...]
    shared: SharedImages
    sites: pd.DataFrame
    alignment: pd.DataFrame
    matches: pd.DataFrame

    def __repr__(self) -> str:
        summary = comparison_summary(self)
        return "\n  ".join([f"<se_probe.Comparison {self._about()}>", *summary.sentences, *summary.claims])

    def _repr_html_(self) -> str:
        """Show the results in words in a notebook."""
        summary = comparison_summary(self)
        items = "".join(f"<li>{html.escape(line)}</li>" for line in (*summary.sentences, *summary.claims))
        return f"<div><strong>Comparison</strong> {html.escape(self._about())}<ul>{items}</ul></div>"

    def _about(self) -> str:
        return f"{', '.join(self.runs)}: {len(self.shared.images)} shared images"


@dataclass(frozen=True)
class _Views:
    """Gram matrices over images and distances over classes of each site."""

    names: list[str]
    grams: list[Floats]
    distances: list[Floats]


def compare_recordings(recordings: Mapping[str, Recording], *, resamples: int = 999, seed: int = 0) -> Comparison:
    """Compare two or more recordings, by label, on the images that all of them have.

    CKA is over the shared chosen images, on gates flattened over branches; RSA is the rank correlation of the
    unbiased squared distances between class means over all shared classes (NaN for fewer than ten).

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
    """The match of each site; a site whose gates do not vary has none."""
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
    """Add depth, spread and verdict of both sites, because the measures do not depend on scale."""
    for side in sides:
        facts = sites[["run", "site", *_FACTS]].rename(columns={name: f"{side}_{name}" for name in _FACTS})
        facts = facts.rename(columns={"run": side, "site": f"{side}_site"})
        table = table.merge(facts, on=[side, f"{side}_site"], how="left", validate="many_to_one")
    return table


def comparison_summary(comparison: Comparison) -> Summary:
    """Summarise a comparison: states of the gates, spread of class means, similarity; then a line a run and a pair."""
    runs, pairs = comparison.sites.groupby("run", sort=False), comparison.matches.groupby(["run", "other"], sort=False)
    return Summary(
        (_states(comparison), _spreads(comparison), _likeness(comparison)),
        (
            *(_run_line(str(label), rows) for label, rows in runs),
            *(_pair_line(str(run), str(other), rows) for (run, other), rows in pairs),
        ),
        None,
    )


def _states(comparison: Comparison) -> str:
    """Name the sites that are not live, the worst state first."""
    sites = comparison.sites
    sizes = sites["run"].value_counts().to_dict()
    states = []
    for kind, predicate in _STILL.items():
        if numbers := sites.loc[sites["verdict"] == kind, "run"].value_counts(sort=False).to_dict():
            where = [f"{number} of {sizes[run]} sites of {run}" for run, number in numbers.items()]
            states.append(f"{predicate} at {_listed(where)}")
    if not states:
        return f"The gates of {_listed(comparison.runs)} are live at all sites: they depend on the image."
    rest = "" if (sites["verdict"] != "live").all() else "; all other sites are live"
    return f"Gates {', '.join(states)}{rest}."


def _spreads(comparison: Comparison) -> str:
    medians = comparison.sites.groupby("run", sort=False)["between_class_sd"].median()
    order = medians.sort_values(ascending=False, kind="stable")
    spreads = [f"{value:.2g} in {run}" for run, value in order.items()]
    return f"Class means differ by {_listed(spreads)}, in gate units (standard deviation, median site)."


def _likeness(comparison: Comparison) -> str:
    known = comparison.matches.dropna(subset=["cka"])
    if known.empty:
        return "No site can be matched with one of another network, since gates do not vary."
    apart = (known["run_depth"] - known["other_depth"]).abs().median()
    return (
        f"The most alike site of another network has a CKA of {known['cka'].median():.2f} ({known['cka'].min():.2f} to "
        f"{known['cka'].max():.2f}; 1 is alike, 0 unrelated) and lies {apart:.2f} of the depth away (medians)."
    )


def _run_line(label: str, rows: pd.DataFrame) -> str:
    highest = rows.sort_values("specificity", ascending=False).iloc[0]
    live = (rows["verdict"] == "live").sum()
    return (
        f"{label}: {live} of {len(rows)} sites live, SD {rows['sd'].median():.2g} over images, "
        f"{rows['between_class_sd'].median():.2g} between classes, ω² {rows['specificity'].median():.2f}, highest at "
        f"{highest['site']} ({highest['specificity']:.2f})"
    )


def _pair_line(run: str, other: str, rows: pd.DataFrame) -> str:
    known = rows.dropna(subset=["cka"])
    if known.empty:
        return f"{run} → {other}: no match"
    apart = (known["run_depth"] - known["other_depth"]).abs().median()
    return f"{run} → {other}: CKA {known['cka'].median():.2f}, {apart:.2f} of the depth away"


def _listed(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def comparison_sentences(comparison: Comparison) -> list[str]:
    """Describe the gates of each run and the similarity of each pair, a sentence each."""
    pairs = comparison.matches.groupby(["run", "other"], sort=False)
    return [
        *(_about_run(label, rows) for label, rows in comparison.sites.groupby("run", sort=False)),
        *(_about_pair(str(run), str(other), rows) for (run, other), rows in pairs),
    ]


def _about_run(label: object, rows: pd.DataFrame) -> str:
    counts = rows["verdict"].value_counts()
    states = ", ".join(f"{verdict} at {number} of {len(rows)} sites" for verdict, number in counts.items())
    highest = rows.sort_values("specificity", ascending=False).iloc[0]
    still = rows["verdict"].isin(("collapsed", "constant", "saturated")).mean() >= 0.5
    warning = "; most of its gates hardly move, so that its shares and similarities are those of next to no variance"
    return (
        f"{label}: gates {states}; their standard deviation over images is {rows['sd'].median():.2g} (median site), "
        f"that between class means {rows['between_class_sd'].median():.2g}; ω² is "
        f"{rows['specificity'].median():.2f} (median), highest at {highest['site']} with "
        f"{highest['specificity']:.2f}{warning if still else ''}."
    )


def _about_pair(run: str, other: str, rows: pd.DataFrame) -> str:
    known = rows.dropna(subset=["cka"])
    if known.empty:
        return f"{run} and {other}: no site can be matched, since gates do not vary."
    apart = (known["run_depth"] - known["other_depth"]).abs().median()
    both = ((known["run_verdict"] == "live") & (known["other_verdict"] == "live")).sum()
    return (
        f"{run} → {other}: the most alike site has a CKA of {known['cka'].median():.2f} (median; "
        f"{known['cka'].min():.2f} to {known['cka'].max():.2f}) and lies {apart:.2f} of the depth away (median); in "
        f"{both} of {len(known)} matches the gates of both sites are live."
    )
