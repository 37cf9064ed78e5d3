"""Similarity of the gates of classes, and its correlation with the similarity of what the classes mean."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from se_probe.analysis.classes import select_classes
from se_probe.analysis.gates import SiteMoments, chosen_sites, each_site, site_facts, site_moments
from se_probe.analysis.protocols import GateRecording, GateSiteLike
from se_probe.analysis.stats import similarity as kernels
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import holm
from se_probe.analysis.stats.similarity import Clustering
from se_probe.labels.wordnet import wordnet_paths

Paths = Mapping[str, Sequence[str] | Sequence[Sequence[str]]]
"""A path from the root to each class, or all such paths, by class name."""
SITES_AT_ONCE = 16
"""Sites whose distances between classes are held at once: 8 MB each for a thousand classes, and their ranks."""


def class_similarity(recording: GateRecording, site: str, classes: Sequence[str] | None = None) -> xr.Dataset:
    """Similarity of every pair of `classes` (None: all seen) at a site, as matrices (class, other).

    `correlation` of the mean gate vectors, which mostly reflects what all classes share; `deviation`, the
    correlation after the mean over these classes is taken from each channel; `distance`, the root mean square
    difference in gate units; `squared_distance`, the mean squared difference without the part that is noise
    of the means (NaN for a class with one image).

    Args:
        recording: the recording.
        site: name of the site.
        classes: names of the classes; None: all seen.

    Raises:
        SeProbeError: an unknown site, or a class without images.
    """
    (found,) = chosen_sites(recording, [site])
    moments = recording.moments(found.name).compute()
    moments = moments if classes is None else select_classes(moments, classes)
    means, m2 = (moments[name].to_numpy().reshape(moments.sizes["class"], -1) for name in ("mean", "m2"))
    names = [str(name) for name in moments["class"].to_numpy()]
    matrices = {
        "correlation": kernels.correlation(means),
        "deviation": kernels.deviation_correlation(means),
        "distance": kernels.rms_distance(means),
        "squared_distance": kernels.squared_distance(moments["count"].to_numpy(), means, m2),
    }
    dims = ("class", "other")
    return xr.Dataset({name: (dims, matrix) for name, matrix in matrices.items()}, {"class": names, "other": names})


def cluster_classes(similarity: xr.Dataset) -> Clustering:
    """Average-linkage clustering of the classes of `class_similarity` by `distance`, in gate units."""
    return kernels.cluster(similarity["distance"].to_numpy())


def site_similarity(
    recording: GateRecording,
    sites: Sequence[str] | None = None,
    paths: Paths | None = None,
    *,
    permutations: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Similarity of all classes seen at `sites` (None: all), one row each.

    `paths` gives the place of classes in a hierarchy by class name: the path from its root to the class, or all of
    several; by default those of WordNet 3.0, where classes have a wnid that it knows.

    After the facts of `site_facts`, over all pairs of classes: the mean `correlation` of their mean gates and
    the root mean square `distance` in gate units, with jackknife errors over classes; `true_distance`, the
    distance without the part that is noise (0 where noise explains it all); `cophenetic`, how well a tree
    describes the distances.
    Then the rank correlation of distances with distances in the hierarchy, `hierarchy_correlation`, with
    `hierarchy_ci_low`, `hierarchy_ci_high` and Mantel's `hierarchy_p`, over `hierarchy_classes` classes; NaN where too
    few have a place. `hierarchy_p_holm` is corrected over the sites (Holm).

    Args:
        recording: the recording.
        sites: names of the sites; None: all.
        paths: place of each class in a hierarchy; None: WordNet 3.0.
        permutations: of Mantel's test, see `stats.similarity.matrix_correlation`.
        seed: seed of the random numbers.

    Raises:
        SeProbeError: an unknown site.

    Source: `stats.similarity`.
    """
    places = _wordnet(recording) if paths is None else paths
    found, rows = chosen_sites(recording, sites), []
    for start in range(0, len(found), SITES_AT_ONCE):
        rows += _rows(recording, found[start : start + SITES_AT_ONCE], places, permutations, seed)
    table = pd.DataFrame(rows)
    return table.assign(hierarchy_p_holm=holm(table["hierarchy_p"].to_numpy(dtype=np.float64)))


def _wordnet(recording: GateRecording) -> Paths:
    named = recording.classes[["name", "wnid"]].dropna()
    found = wordnet_paths([str(wnid) for wnid in named["wnid"]])
    pairs = zip(named["name"], named["wnid"], strict=True)
    return {str(name): found[wnid] for name, wnid in pairs if wnid in found}


def _rows(
    recording: GateRecording, sites: Sequence[GateSiteLike], places: Paths, permutations: int | None, seed: int
) -> list[dict[str, object]]:
    """One row a site; sites with the same classes share the permutations of the hierarchy."""

    def measured(site: GateSiteLike) -> tuple[dict[str, object], tuple[str, ...], Floats]:
        moments = site_moments(recording, site)
        apart = kernels.rms_distance(moments.mean.T)
        return _row(moments, apart), tuple(moments.names), apart

    measurements = each_site(measured, sites)
    rows = [row for row, _, _ in measurements]
    seen = [names for _, names, _ in measurements]
    distances = [apart for _, _, apart in measurements]
    for names in dict.fromkeys(seen):
        alike = [index for index, other in enumerate(seen) if other == names]
        found = _hierarchy_correlations(names, [distances[index] for index in alike], places, permutations, seed)
        for index, result in zip(alike, found, strict=True):
            rows[index] |= result
    return rows


def _row(moments: SiteMoments, distances: Floats) -> dict[str, object]:
    correlation, correlation_error = kernels.pair_mean(kernels.correlation(moments.mean.T))
    square, square_error = kernels.pair_mean(distances**2)
    without_noise, _ = kernels.pair_mean(kernels.without_noise(distances, moments.count, moments.m2.T))
    return {
        **site_facts(moments),
        "correlation": correlation,
        "correlation_error": correlation_error,
        "distance": square**0.5,
        "distance_error": square_error / (2 * square**0.5) if square > 0 else 0.0,
        "true_distance": float(np.sqrt(np.maximum(without_noise, 0.0))),
        "cophenetic": kernels.cluster(distances).cophenetic if len(distances) > 1 else float("nan"),
    }


def _hierarchy_correlations(
    names: Sequence[str], distances: list[Floats], places: Paths, permutations: int | None, seed: int
) -> list[dict[str, object]]:
    rows = [row for row, name in enumerate(names) if name in places]
    results = [kernels.MatrixCorrelation(np.nan, np.nan, np.nan, np.nan)] * len(distances)
    if len(rows) >= kernels.FEWEST_CLASSES:
        meaning = kernels.hierarchy_distance([_all_paths(places[names[row]]) for row in rows])
        known = [matrix[np.ix_(rows, rows)] for matrix in distances]
        results = kernels.matrix_correlations(known, meaning, permutations=permutations, seed=seed)
    return [
        {
            "hierarchy_classes": len(rows),
            "hierarchy_correlation": result.correlation,
            "hierarchy_ci_low": result.low,
            "hierarchy_ci_high": result.high,
            "hierarchy_p": result.p,
        }
        for result in results
    ]


def _all_paths(paths: Sequence[str] | Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The paths to a class, of which there may be one that is given by itself."""
    nodes = [path for path in paths if isinstance(path, str)]
    return [tuple(nodes)] if nodes else [tuple(path) for path in paths]
