"""Jackknife over groups of classes: standard errors of any function of class moments over other classes.

The groups are the same at every site, so that errors of differences and trends over sites are right although all sites
see the same classes.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se_probe.analysis.stats.intervals import student
from se_probe.analysis.stats.moments import Components, Floats, unbiased_variance

MOST_GROUPS = 50
"""More groups would not make the error noticeably more precise."""


def class_groups(classes: int, *, most: int = MOST_GROUPS, seed: int = 0) -> NDArray[np.int64]:
    """Group of each class, 0 … G − 1: a group a class, or random groups of even size.

    Args:
        classes: number of classes.
        most: largest number of groups.
        seed: seed of the random numbers.
    """
    if classes <= most:
        return np.arange(classes)
    return np.random.default_rng(seed).permutation(np.arange(classes) % most)


def pooled_components_without(
    count: ArrayLike, mean: ArrayLike, m2: ArrayLike, groups: NDArray[np.int64]
) -> Components:
    """The `components` of class moments, summed over columns, without each group of classes: `(G,)`.

    Two classes or more must remain without any group.

    Args:
        count: images of each class, `(class,)`.
        mean: class means, `(column, class)`.
        m2: sums of squared deviations, likewise.
        groups: group of each class, 0 … G − 1.

    Source: `stats.moments.components`, whose sums over classes are taken here from sums over groups.
    """
    member = np.eye(groups.max() + 1)[groups]
    images, means = np.asarray(count, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    # The grand mean changes nothing in the result, but squares of small deviations keep their digits.
    means = means - means.mean(axis=-1, keepdims=True)
    variance = unbiased_variance(images, m2).sum(axis=0)
    left = len(groups) - member.sum(axis=0)
    sums = means @ member
    squares, within, noise = (
        (values.sum() - values @ member) / left for values in (np.sum(means**2, axis=0), variance, variance / images)
    )
    centre = (sums.sum(axis=1, keepdims=True) - sums) / left
    between = squares - np.sum(centre**2, axis=0) - (left - 1) / left * noise
    return Components(np.asarray(between), np.asarray(within))


def jackknife_limits(whole: float, without: Floats, groups: NDArray[np.int64]) -> tuple[float, float]:
    """95 % limits of a number from its value without each group, with Student's t of G − 1 degrees.

    Args:
        whole: the number from all classes.
        without: the number without each group, `(G,)`.
        groups: group of each class, 0 … G − 1.

    Source: Busing, Meijer and van der Leeden, Delete-m jackknife for unequal m, Statistics and Computing 9
    (1999), equation 8; with groups of one class it is Tukey's (1958).
    """
    ratio = len(groups) / np.bincount(groups)
    pseudo = ratio * whole - (ratio - 1) * without
    reach = student(len(ratio) - 1) * float(np.sqrt(np.mean((pseudo - np.mean(pseudo)) ** 2 / (ratio - 1))))
    return whole - reach, whole + reach
