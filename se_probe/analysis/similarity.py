"""Similarity of classes by their gates, clustering, and correlation with a hierarchy of the classes."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from se_probe.analysis.curves import as_table, select_classes
from se_probe.analysis.gates import chosen_sites, each_site, site_facts, site_moments
from se_probe.analysis.protocols import GateRecording, RecordingLike, SiteLike
from se_probe.analysis.sampling import sample_channels
from se_probe.analysis.stats import similarity as kernels
from se_probe.analysis.stats.moments import Floats, Moments
from se_probe.analysis.stats.paired import holm
from se_probe.analysis.stats.similarity import Clustering
from se_probe.labels.wordnet import wordnet_paths

Paths = Mapping[str, Sequence[str] | Sequence[Sequence[str]]]
"""A path from the root to each class, or all paths, by class name."""
SITES_AT_ONCE = 16
"""Sites whose distances between classes are in memory at once: 8 MB each for a thousand classes, and their ranks."""
HEATMAP_CHANNELS = 200


def class_similarity(recording: RecordingLike, site: str, classes: Sequence[str] | None = None) -> xr.Dataset:
    """Similarity of every pair of classes at a site.

    Args:
        recording: the recording.
        site: name of the site.
        classes: names of the classes; None: all seen.

    Returns:
        Matrices (class, other): `correlation` of the mean gate vectors, which mostly reflects what all classes share;
        `deviation`, the correlation after the mean over these classes is subtracted from each channel; `distance`, the
        root mean square difference in gate units; `squared_distance`, the mean squared difference without the noise of
        the means (NaN for a class with one image).

    Raises:
        SeProbeError: an unknown site, or a class without images.
    """
    (chosen,) = chosen_sites(recording, [site])
    moments = select_classes(recording.moments(chosen.name).compute(), classes)
    means, m2 = (moments[name].to_numpy().reshape(moments.sizes["class"], -1) for name in ("mean", "m2"))
    noise = Moments(moments["count"].to_numpy(), means.T, m2.T)
    names = [str(name) for name in moments["class"].to_numpy()]
    distances = kernels.rms_distance(means)
    matrices = {
        "correlation": kernels.correlation(means),
        "deviation": kernels.deviation_correlation(means),
        "distance": distances,
        "squared_distance": kernels.squared_distance(distances, noise),
    }
    dims = ("class", "other")
    return xr.Dataset({name: (dims, matrix) for name, matrix in matrices.items()}, {"class": names, "other": names})


def cluster_classes(similarity: xr.Dataset) -> Clustering:
    """Cluster the classes of `class_similarity` by average linkage of `distance`, in gate units.

    Returns:
        `linkage` (scipy's matrix), `order` of the leaves, and `cophenetic` correlation.
    """
    return kernels.cluster(similarity["distance"].to_numpy())


def pair_table(similarity: xr.Dataset, clustering: Clustering) -> pd.DataFrame:
    """The matrices of `class_similarity` as one row per pair of classes, each pair in both directions.

    After `class` and `other` come their positions `row` and `column` among the leaves of `clustering`.
    """
    position = np.argsort(clustering.order)
    table = similarity.to_dataframe(dim_order=["class", "other"]).reset_index()
    table.insert(2, "row", np.repeat(position, len(position)))
    table.insert(3, "column", np.tile(position, len(position)))
    return table


def clustered_class_means(
    recording: RecordingLike,
    site: str,
    classes: Sequence[str] | None = None,
    channels: int | None = HEATMAP_CHANNELS,
    seed: int = 0,
    *,
    order: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Mean gate of classes in sampled channels of a site, ordered by clustering, or with rows in a given `order`.

    One row per class, branch and channel: `site`, `activation`, `site_channels`, `class`, `branch`, `channel`, `mean`,
    and the positions `row` and `column` of the class and the channel in an average-linkage clustering by the root mean
    square difference of their means.
    """
    (chosen,) = chosen_sites(recording, [site])
    moments = select_classes(recording.moments(site).compute(), classes)
    picked = sample_channels(chosen.channels, channels, seed)
    table = as_table(moments[["mean"]].isel(channel=picked).assign_coords(channel=picked))
    names = moments["class"].to_numpy().astype(str)
    means = table["mean"].to_numpy(dtype=np.float64).reshape(len(names), -1)
    rows = _leaves(means) if order is None else np.array([list(order).index(name) for name in names])
    table = table.assign(row=np.repeat(rows, means.shape[1]), column=np.tile(_leaves(means.T), len(names)))
    columns = ["site", "activation", "site_channels", "class", "branch", "channel", "mean", "row", "column"]
    return table.assign(site=site, activation=chosen.activation, site_channels=chosen.channels)[columns]


def _leaves(vectors: Floats) -> NDArray[np.int64]:
    """Position of each vector among the leaves of their clustering."""
    if len(vectors) < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    return np.asarray(np.argsort(kernels.cluster(kernels.rms_distance(vectors)).order))


def site_similarity(
    recording: GateRecording,
    sites: Sequence[str] | None = None,
    paths: Paths | None = None,
    *,
    permutations: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Similarity of all classes seen at each site.

    Args:
        recording: the recording.
        sites: names of the sites; None: all.
        paths: path from the root of a hierarchy to each class, or all its paths, by class name; None: those of WordNet
            3.0, for classes with a wnid.
        permutations: of Mantel's test, see `stats.similarity.matrix_correlations`.
        seed: seed of the random numbers.

    Returns:
        One row per site. After the facts of `site_facts`, over all pairs of classes: the mean `correlation` of their
        mean gates and the root mean square `distance` in gate units, with jackknife errors over classes;
        `true_distance`, the distance without noise (0 where noise explains it all); `cophenetic`, the fit of a tree to
        the distances. Then the rank correlation of distances with those in the hierarchy, `hierarchy_correlation`, with
        `hierarchy_ci_low`, `hierarchy_ci_high`, Mantel's `hierarchy_p` and `hierarchy_p_holm` over sites, for
        `hierarchy_classes` classes; NaN where too few are in the hierarchy.

    Raises:
        SeProbeError: an unknown site.

    Source: `stats.similarity`.
    """
    paths = _wordnet(recording) if paths is None else paths
    found, rows = chosen_sites(recording, sites), []
    for start in range(0, len(found), SITES_AT_ONCE):
        measured = each_site(partial(_measured, recording), found[start : start + SITES_AT_ONCE])
        distances = [apart for _, apart in measured]
        # Every class is seen at every site, so sites share the permutations of the hierarchy.
        names = site_moments(recording, found[start]).names
        hierarchy = _hierarchy_correlations(names, distances, paths, permutations, seed)
        rows += [row | result for (row, _), result in zip(measured, hierarchy, strict=True)]
    table = pd.DataFrame(rows)
    return table.assign(hierarchy_p_holm=holm(table["hierarchy_p"].to_numpy(dtype=np.float64)))


def _wordnet(recording: GateRecording) -> Paths:
    wnids = recording.classes.dropna(subset=["wnid"]).set_index("name")["wnid"]
    paths = wordnet_paths([str(wnid) for wnid in wnids])
    return {str(name): paths[wnid] for name, wnid in wnids.items() if wnid in paths}


def _measured(recording: GateRecording, site: SiteLike) -> tuple[dict[str, object], Floats]:
    """The row of a site without the hierarchy, and the distances between its classes."""
    moments = site_moments(recording, site)
    distances = kernels.rms_distance(moments.mean.T)
    correlation, correlation_error = kernels.pair_mean(kernels.correlation(moments.mean.T))
    square, square_error = kernels.pair_mean(distances**2)
    true_square, _ = kernels.pair_mean(kernels.squared_distance(distances, moments))
    row = {
        **site_facts(moments),
        "correlation": correlation,
        "correlation_error": correlation_error,
        "distance": square**0.5,
        "distance_error": square_error / (2 * square**0.5) if square > 0 else 0.0,
        "true_distance": float(np.sqrt(np.maximum(true_square, 0.0))),
        "cophenetic": kernels.cluster(distances).cophenetic if len(distances) > 1 else float("nan"),
    }
    return row, distances


def _hierarchy_correlations(
    names: Sequence[str], distances: list[Floats], paths: Paths, permutations: int | None, seed: int
) -> list[dict[str, object]]:
    rows = [row for row, name in enumerate(names) if name in paths]
    results = [kernels.MatrixCorrelation(np.nan, np.nan, np.nan, np.nan)] * len(distances)
    if len(rows) >= kernels.FEWEST_CLASSES:
        meaning = kernels.hierarchy_distance([_all_paths(paths[names[row]]) for row in rows])
        known = [matrix[np.ix_(rows, rows)] for matrix in distances]
        results = kernels.matrix_correlations(known, meaning, permutations=permutations, seed=seed)
    columns = ("hierarchy_correlation", "hierarchy_ci_low", "hierarchy_ci_high", "hierarchy_p")
    return [{"hierarchy_classes": len(rows), **dict(zip(columns, result, strict=True))} for result in results]


def _all_paths(paths: Sequence[str] | Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The paths to a class; a single path may be given by itself."""
    nodes = [path for path in paths if isinstance(path, str)]
    return [tuple(nodes)] if nodes else [tuple(path) for path in paths]
