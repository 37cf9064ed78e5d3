"""What chance alone gives: permutation tests and false-discovery control."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis.stats.moments import Floats

BATCH = 8
# Sums of the same numbers in another order differ in their last digits; a tie must count as one.
TIE = 1e-9


@dataclass(frozen=True)
class PermutationTest:
    """p values of the difference between classes.

    Attributes:
        channel: one a column.
        site: of all columns together.
    """

    channel: Floats
    site: float


def permutation_test(
    gates: NDArray[np.floating], labels: NDArray[np.int64], *, permutations: int = 999, seed: int = 0
) -> PermutationTest:
    """Test whether `gates` (image, column) differ between the classes `labels`, 0 … K − 1, of the images.

    Labels are shuffled over images; the statistic is the sum of squares between classes, which orders
    permutations as F does since their total is fixed, and for the site its sum over columns (pseudo-F).
    p = (1 + permutations at least as extreme) / (1 + permutations), never 0. Exact where images are
    exchangeable under the null, with any distribution and unequal counts; a column that does not vary has 1.

    Source: Anderson, Austral Ecology 26 (2001); Phipson and Smyth, Permutation p-values should never be
    zero, Statistical Applications in Genetics and Molecular Biology 9 (2010).
    """
    centred = np.asarray(gates, dtype=np.float64) - gates.mean(axis=0, dtype=np.float64)
    weights = np.eye(labels.max() + 1)[labels] / np.sqrt(np.bincount(labels))
    observed = _between(weights[None], centred)[0]
    rng = np.random.default_rng(seed)
    channel, site = np.zeros(centred.shape[1]), 0
    for start in range(0, permutations, BATCH):
        size = min(BATCH, permutations - start)
        drawn = _between(np.stack([rng.permutation(weights) for _ in range(size)]), centred)
        channel += np.sum(drawn >= observed * (1 - TIE), axis=0)
        site += int(np.sum(drawn.sum(axis=1) >= observed.sum() * (1 - TIE)))
    return PermutationTest((1 + channel) / (1 + permutations), (1 + site) / (1 + permutations))


def false_discovery(p: Floats) -> Floats:
    """Adjusted p values: those at most q make up a set with an expected share of false ones of at most q.

    NaN stays NaN and does not count as a test. Valid for tests that are independent or positively dependent.

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995).
    """
    adjusted = np.full(p.shape, np.nan)
    judged = np.isfinite(p)
    if judged.any():
        adjusted[judged] = stats.false_discovery_control(p[judged])
    return adjusted


def _between(weights: Floats, centred: Floats) -> Floats:
    """Sum of squares between classes, (permutation, column); `weights` (permutation, image, class)."""
    permutations, images, classes = weights.shape
    sums = weights.transpose(0, 2, 1).reshape(-1, images) @ centred
    np.square(sums, out=sums)
    return np.asarray(sums.reshape(permutations, classes, -1).sum(axis=1))
