"""Groups of classes that a channel ranks highest, with the best group tested against permuted classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats

from se_probe.analysis.stats.moments import Floats

AT_ONCE = 1024
"""Permutations in memory at once."""


@dataclass(frozen=True)
class BestGroup:
    """The group of classes that stands out most in each channel; NaN, and -1 for `group`, where class means are equal.

    Attributes:
        group: index of the group.
        auc: its area under the curve, see `area_under_curve`.
        p: probability that some group stands out at least as much when classes are permuted.
    """

    group: NDArray[np.int64]
    auc: Floats
    p: Floats


def best_group(means: ArrayLike, members: ArrayLike, by_chance: ArrayLike) -> BestGroup:
    """Find the group whose classes have the highest means in each channel, and test it.

    Groups of different sizes are compared by the standardised rank sum z = (AUC − ½)/√((K + 1)/(12 n (K − n))) for n
    of K classes, because three classes easily reach an AUC of 1 by chance. p = (1 + as large)/(1 + permutations), from
    the largest z over groups under random permutations of the classes, accounts for the choice among nested groups. It
    is exact for channels without ties, and conservative with ties.

    Means are `(channel, class)`, members bool `(group, class)`; `by_chance` is `largest_by_chance` of these groups.

    Source: Mann and Whitney, Annals of Mathematical Statistics 18 (1947); Westfall and Young, Resampling-Based Multiple
    Testing (1993), for the maximum.
    """
    values, groups = np.asarray(means, dtype=np.float64), np.asarray(members, dtype=np.float64)
    classes, sizes = groups.shape[1], groups.sum(axis=1)
    ranks = stats.rankdata(values, axis=1)
    z = _standardised(ranks, groups)
    varies = np.ptp(values, axis=1) > 0
    best = np.argmax(z, axis=1)
    top = np.take_along_axis(z, best[:, None], axis=1)[:, 0]
    drawn = np.asarray(by_chance, dtype=np.float64)
    larger = drawn.size - np.searchsorted(drawn, top - 1e-9)
    auc = 0.5 + top * _scale(classes, sizes)[best]
    return BestGroup(
        np.where(varies, best, -1),
        np.where(varies, auc, np.nan),
        np.where(varies, (1 + larger) / (1 + drawn.size), np.nan),
    )


def area_under_curve(means: ArrayLike, inside: ArrayLike, outside: ArrayLike) -> Floats:
    """Probability that a class `inside` has a higher mean than one `outside`, ties counted half; NaN without either.

    Means are `(channel, class)`; the groups are bool `(channel, class)` or `(class,)`.
    """
    values = np.asarray(means, dtype=np.float64)
    within, beyond = (np.broadcast_to(np.asarray(own, dtype=bool), values.shape) for own in (inside, outside))
    ranks = stats.rankdata(np.where(within | beyond, values, np.nan), axis=1, nan_policy="omit")
    count, rest = within.sum(axis=1), beyond.sum(axis=1)
    rank_sum = np.sum(ranks, axis=1, where=within)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(count * rest > 0, (rank_sum - count * (count + 1) / 2) / (count * rest), np.nan))


def largest_by_chance(members: ArrayLike, *, permutations: int = 9_999, seed: int = 0) -> Floats:
    """Largest z over groups, see `best_group`, under random permutations of the classes, in ascending order."""
    rng = np.random.default_rng(seed)
    groups = np.asarray(members, dtype=np.float64)
    ranks = np.arange(1, groups.shape[1] + 1, dtype=np.float64)
    largest = np.empty(permutations if len(groups) else 0)
    for first in range(0, largest.size, AT_ONCE):
        drawn = np.tile(ranks, (min(AT_ONCE, largest.size - first), 1))
        largest[first : first + len(drawn)] = _standardised(rng.permuted(drawn, axis=1), groups).max(axis=1)
    return np.sort(largest)


def _standardised(ranks: Floats, groups: Floats) -> Floats:
    """z of every row of ranks for every group."""
    classes, sizes = groups.shape[1], groups.sum(axis=1)
    # Sparse, because most groups are small: of 1000 classes the mean group has 60.
    sums = (sparse.csr_array(groups) @ ranks.T).T
    auc = (sums - sizes * (sizes + 1) / 2) / (sizes * (classes - sizes))
    return np.asarray((auc - 0.5) / _scale(classes, sizes))


def _scale(classes: int, sizes: Floats) -> Floats:
    """Standard deviation of the AUC of a group under chance."""
    return np.asarray(np.sqrt((classes + 1) / (12 * sizes * (classes - sizes))))
