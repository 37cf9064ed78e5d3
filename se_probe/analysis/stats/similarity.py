"""Similarity of classes: correlation and distance of mean gates, clustering, correlation with a hierarchy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.cluster import hierarchy
from scipy.spatial import distance

from se_probe.analysis.stats.class_tests import TIE
from se_probe.analysis.stats.intervals import fisher, jackknife_error, student
from se_probe.analysis.stats.moments import Floats, Moments, variance_of_mean

FEWEST_CLASSES = 4
CLOSE = 1e-5
"""Squared distance, as a share of squared lengths, below which rows are subtracted directly to keep digits."""
MANY_CLASSES = 300
"""Number of classes above which fewer permutations are drawn, because their time grows with its square."""
SHUFFLES = 8
"""Permutations of a matrix in memory at once."""


@dataclass(frozen=True)
class Clustering:
    """Average-linkage clustering of classes.

    Attributes:
        linkage: scipy's linkage matrix, `(class − 1, 4)`.
        order: classes in the order of the dendrogram's leaves.
        cophenetic: correlation of the dendrogram's heights with the distances; 1 for a perfect tree.
    """

    linkage: Floats
    order: NDArray[np.int64]
    cophenetic: float


class MatrixCorrelation(NamedTuple):
    """Rank correlation of two distance matrices, its confidence limits over classes, and Mantel's p value."""

    correlation: float
    low: float
    high: float
    p: float


def correlation(means: ArrayLike) -> Floats:
    """Pearson correlation over columns of every pair of rows of `means` (class, column); NaN for a flat row.

    Noise of the means pulls it towards 0.
    """
    rows = np.asarray(means, dtype=np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt(np.sum(centred**2, axis=1))
    units = centred / np.where(length > 0, length, np.nan)[:, None]
    return np.asarray(np.clip(units @ units.T, -1, 1))


def deviation_correlation(means: ArrayLike) -> Floats:
    """The `correlation` after each column's mean over classes is subtracted.

    K unrelated classes have −1/(K − 1), not 0.
    """
    rows = np.asarray(means, dtype=np.float64)
    return correlation(rows - rows.mean(axis=0))


def rms_distance(means: ArrayLike) -> Floats:
    """Root mean square difference of every pair of rows, in gate units.

    Noise of the means makes it larger, see `squared_distance`. Squares come from one matrix product of the centred
    rows; pairs that are so close that it would lose digits are subtracted directly.
    """
    rows = np.asarray(means, dtype=np.float64)
    centred = rows - rows.mean(axis=0)
    lengths = np.sum(centred**2, axis=1)
    sizes = lengths[:, None] + lengths
    squares = sizes - 2 * (centred @ centred.T)
    np.fill_diagonal(squares, 0)
    for row, close in enumerate(np.triu(squares <= CLOSE * sizes, 1)):
        others = np.flatnonzero(close)
        squares[row, others] = squares[others, row] = np.sum((rows[row] - rows[others]) ** 2, axis=1)
    return np.asarray(np.sqrt(squares / rows.shape[1]))


def squared_distance(distances: Floats, moments: Moments) -> Floats:
    """Unbiased mean squared difference of the true means of every pair of classes.

    The average contribution of noise is subtracted from the squared `rms_distance` of the class means, so it can fall
    below 0. NaN for a class with one image, and 0 on the diagonal. Moments are `(column, class)`.

    Source: Walther et al., Reliability of dissimilarity measures for multi-voxel pattern analysis, NeuroImage 137
    (2016), here by subtraction of the known noise.
    """
    noise = np.mean(variance_of_mean(moments.count, moments.m2), axis=0)
    return np.where(np.eye(len(noise), dtype=bool), 0.0, distances**2 - (noise[:, None] + noise))


def hierarchy_distance(paths: Sequence[Sequence[Sequence[str]]]) -> Floats:
    """1 − Wu–Palmer similarity of every pair of classes, 0 … 1, as a square matrix, from all `paths` to each class.

    The similarity is twice the depth of the deepest common ancestor over the sum of both depths, the root at depth 1;
    of classes with several paths, that of the two most similar paths. 1 for classes without a common root.

    Source: Wu and Palmer, Verb semantics and lexical selection, ACL 1994.
    """
    every = [path for own in paths for path in own]
    codes: dict[str, int] = {}
    depth = np.array([len(path) for path in every])
    table = np.full((len(every), depth.max()), -1)
    for row, path in enumerate(every):
        table[row, : len(path)] = [codes.setdefault(node, len(codes)) for node in path]
    same, common = np.ones((len(every), len(every)), dtype=bool), np.zeros((len(every), len(every)))
    for level in table.T:
        same &= (level[:, None] == level) & (level[:, None] >= 0)
        common += same
    apart = 1 - 2 * common / (depth[:, None] + depth)
    first = np.cumsum([0, *(len(own) for own in paths[:-1])])
    apart = np.minimum.reduceat(np.minimum.reduceat(apart, first, axis=0), first, axis=1)
    np.fill_diagonal(apart, 0.0)
    return np.asarray(apart)


def pair_mean(pairs: Floats) -> tuple[float, float]:
    """Mean over all pairs of classes of a square matrix, and its jackknife standard error over classes.

    The error is NaN for fewer than three classes, the mean for fewer than two.
    """
    classes = len(pairs)
    if classes < 2:
        return np.nan, np.nan
    sums = pairs.sum(axis=1) - np.diag(pairs)
    mean = float(sums.sum() / (classes * (classes - 1)))
    if classes < 3:
        return mean, np.nan
    return mean, float(jackknife_error((sums.sum() - 2 * sums) / ((classes - 1) * (classes - 2))))


def cluster(distances: Floats) -> Clustering:
    """Cluster classes by average linkage on a square matrix of distances, two classes or more.

    Source: Sokal and Michener, A statistical method for evaluating systematic relationships (1958); Sokal and Rohlf,
    The comparison of dendrograms by objective methods, Taxon 11 (1962), for the cophenetic correlation.
    """
    condensed = distance.squareform(distances, checks=False)
    linkage = hierarchy.linkage(condensed, method="average", optimal_ordering=len(distances) <= 200)
    heights = hierarchy.cophenet(linkage)
    varied = condensed.size > 1 and np.ptp(condensed) > 0 and np.ptp(heights) > 0
    cophenetic = float(np.corrcoef(condensed, heights)[0, 1]) if varied else float("nan")
    return Clustering(linkage, hierarchy.leaves_list(linkage).astype(np.int64), cophenetic)


def matrix_correlations(
    firsts: Sequence[Floats], second: Floats, *, permutations: int | None = None, seed: int = 0
) -> list[MatrixCorrelation]:
    """Spearman correlation over all pairs of classes of several distance matrices `(class, class)` with another.

    Pairs share classes, so neither p value nor interval treats them as independent: p shuffles the classes of the
    other matrix (one-sided: more alike than by chance; all of `firsts` share the shuffles), the interval is a
    delete-one-class jackknife on Fisher's scale. All NaN for fewer than `FEWEST_CLASSES` classes, or where either
    matrix has only ties.

    The default number of permutations is 9,999, so that p is below 0.01 after correction over a hundred sites, and
    1,999 above `MANY_CLASSES` classes, enough for twenty.

    Source: Mantel, The detection of disease clustering, Cancer Research 27 (1967); Arvesen, Annals of Mathematical
    Statistics 40 (1969).
    """
    results = [MatrixCorrelation(np.nan, np.nan, np.nan, np.nan)] * len(firsts)
    judged = [index for index, first in enumerate(firsts) if len(first) >= FEWEST_CLASSES and not _tied(first)]
    if not judged or _tied(second):
        return results
    y = _centred_ranks(second)
    ranks = np.stack([_centred_ranks(firsts[index]) for index in judged])
    shuffles = permutations if permutations is not None else 9999 if len(y) <= MANY_CLASSES else 1999
    for index, x, p in zip(judged, ranks, _mantel(ranks, y, shuffles, seed), strict=True):
        rho = float(np.sum(x * y) / np.sqrt(np.sum(x**2) * np.sum(y**2)))
        results[index] = MatrixCorrelation(rho, *_jackknife_limits(rho, x, y), float(p))
    return results


def _tied(distances: Floats) -> bool:
    return bool(np.ptp(distance.squareform(distances, checks=False)) == 0)


def _mantel(x: Floats, y: Floats, permutations: int, seed: int) -> Floats:
    """p of each of `x` (matrix, class, class) from products with shuffled `y` (class, class)."""
    row, column = np.triu_indices(len(y), 1)
    pairs = x[:, row, column]
    observed = pairs @ y[row, column]
    rng = np.random.default_rng(seed)
    extreme = np.zeros(len(x))
    shuffled = np.empty((SHUFFLES, len(row)))
    for start in range(0, permutations, SHUFFLES):
        now = shuffled[: permutations - start]
        for row_of_pairs in now:
            order = rng.permutation(len(y))
            y.take(order[row] * len(y) + order[column], out=row_of_pairs, mode="clip")
        extreme += np.sum(now @ pairs.T >= observed - TIE * np.abs(observed), axis=0)
    return np.asarray((1 + extreme) / (1 + permutations))


def _centred_ranks(distances: Floats) -> Floats:
    """Ranks of the pairs minus their mean, as a square matrix with diagonal 0."""
    ranks = stats.rankdata(distance.squareform(distances, checks=False))
    return np.asarray(distance.squareform(ranks - ranks.mean()))


def _jackknife_limits(rho: float, x: Floats, y: Floats) -> tuple[float, float]:
    classes = len(x)
    pairs = (classes - 1) * (classes - 2) / 2

    def without(products: Floats) -> Floats:
        return np.asarray(products.sum() / 2 - products.sum(axis=1))

    covariance = without(x * y) - without(x) * without(y) / pairs
    spread = (without(x**2) - without(x) ** 2 / pairs) * (without(y**2) - without(y) ** 2 / pairs)
    if np.any(spread <= 0):
        return float("nan"), float("nan")
    reach = student(classes - 1) * jackknife_error(fisher(covariance / np.sqrt(spread)))
    return float(np.tanh(fisher(rho) - reach)), float(np.tanh(fisher(rho) + reach))
