"""Paired comparisons of the same images under two conditions: tests and intervals."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis.stats.intervals import NORMAL, TAILS, Interval, student, wilson
from se_probe.analysis.stats.moments import Floats

FEWEST_CLASSES = 10
"""Fewest classes that are taken as units; fewer are mostly chosen by hand and do not represent other classes."""
EXACT_UNITS = 13
"""Most units for which all 2ⁿ sign patterns are enumerated; above it a sample is drawn."""
FLIPS = 9999
RESAMPLES = 2999
TIE = 1e-9
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Strata:
    """Paired differences, grouped for a mean in which every class has the same weight.

    Attributes:
        groups: arrays `(unit, column)`; units are resampled within their group; groups have equal weights.
        resampling_unit: what a unit is, "class" or "image".
    """

    groups: tuple[Floats, ...]
    resampling_unit: str

    @property
    def units(self) -> int:
        """Number of independent units."""
        return sum(len(group) for group in self.groups)

    @property
    def smallest(self) -> int:
        """Number of units of the smallest group."""
        return min(len(group) for group in self.groups)

    @property
    def mean(self) -> Floats:
        """Mean of the group means, `(column,)`."""
        return np.asarray(np.mean([group.mean(axis=0) for group in self.groups], axis=0))

    @property
    def standard_error(self) -> Floats:
        """Standard error of `mean` for other units of these groups, `(column,)`; NaN if a group has a single unit."""
        unknown = np.full(self.groups[0].shape[1], np.nan)
        variances = [group.var(axis=0, ddof=1) / len(group) if len(group) > 1 else unknown for group in self.groups]
        return np.asarray(np.sqrt(np.sum(variances, axis=0)) / len(self.groups))

    @property
    def parts(self) -> Floats:
        """What each unit adds to `mean`, `(unit, column)`."""
        return np.concatenate([group / (len(group) * len(self.groups)) for group in self.groups])


def strata(differences: NDArray[np.floating], labels: NDArray[np.int64]) -> Strata:
    """Choose the independent units of `differences` (image, column) of images with the classes `labels`, 0 … K − 1.

    With `FEWEST_CLASSES` or more, the units are the K class means, and conclusions extend to other classes of the kind.
    With fewer, the units are images within their classes, and conclusions hold for other images of these classes only.

    Source: Cameron and Miller, A Practitioner's Guide to Cluster-Robust Inference (2015).
    """
    groups = _by_class(differences, labels)
    if len(groups) >= FEWEST_CLASSES:
        return Strata((np.stack([group.mean(axis=0) for group in groups]),), "class")
    return Strata(groups, "image")


def image_strata(differences: NDArray[np.floating], labels: NDArray[np.int64]) -> Strata:
    """Take the images of `differences` (image, column) as the units, resampled within their classes 0 … K − 1.

    Conclusions hold for other images of these same classes, however many they are. Where every class has one image,
    nothing can be resampled within classes, and all images are one group.
    """
    groups = _by_class(differences, labels)
    alone = all(len(group) == 1 for group in groups)
    return Strata((np.asarray(differences, dtype=np.float64),) if alone else groups, "image")


def smallest_p(units: int) -> float:
    """Return the smallest p value that a sign-flip test of `units` can give, that of equal signs."""
    return max(2.0 ** (1 - units), 0.0 if units <= EXACT_UNITS else 1 / (FLIPS + 1))


def sign_flip_test(differences: Strata, *, seed: int = 0) -> Floats:
    """Two-sided p value of every column that `differences.mean` is zero, `(column,)`.

    Under the null a unit's difference is as likely as its opposite, so signs can be flipped, the same in all columns.
    Up to `EXACT_UNITS` units all 2ⁿ patterns are used, else `FLIPS` random ones, and then
    p = (1 + as extreme) / (1 + drawn), never 0. p is 1 for a column of zeros.

    Source: Fisher, The Design of Experiments (1935), section 21; Phipson and Smyth, Permutation p-values should never
    be zero, Statistical Applications in Genetics and Molecular Biology 9 (2010).
    """
    parts = differences.parts
    limit = np.abs(parts.sum(axis=0)) * (1 - TIE)
    return _share_of_patterns(lambda signs: np.abs(signs @ parts) >= limit, len(parts), seed)


def pattern_test(differences: Strata, *, seed: int = 0) -> float:
    """Return the p value of the null that no column's `mean` differs from zero, in either direction.

    The statistic is the squared length of `differences.mean` over columns; signs of whole units are flipped as in
    `sign_flip_test`, so columns may depend on one another in any way. p is 1 if all differences are 0.

    Source: Chung and Romano, Multivariate and multiple permutation tests, Journal of Econometrics 193 (2016), for
    statistics of a vector; Fisher (1935) for the signs.
    """
    gram = differences.parts @ differences.parts.T
    limit = gram.sum() * (1 - TIE)
    if limit <= 0:
        return 1.0
    return float(_share_of_patterns(lambda signs: np.sum(signs @ gram * signs, axis=1) >= limit, len(gram), seed))


def _share_of_patterns(extreme: Callable[[NDArray[np.floating]], NDArray[np.bool_]], units: int, seed: int) -> Floats:
    """p: the share of sign patterns `(pattern, unit)` that are `extreme`, of all of them or of a sample."""
    if units <= EXACT_UNITS:
        patterns = np.arange(2**units)[:, None] >> np.arange(units) & 1
        return np.asarray(np.mean(extreme(1.0 - 2.0 * patterns), axis=0))
    rng, total = np.random.default_rng(seed), np.asarray(0)
    at_once = max(1, _NUMBERS_AT_ONCE // units)
    for start in range(0, FLIPS, at_once):
        flips = rng.integers(0, 2, (min(at_once, FLIPS - start), units), dtype=np.int8)
        total = total + np.sum(extreme(1.0 - 2.0 * flips), axis=0)
    return np.asarray((1 + total) / (1 + FLIPS))


def paired_interval(differences: Strata, *, seed: int = 0) -> Interval:
    """`differences.mean` of every column with its expanded percentile bootstrap interval.

    Units are resampled within their groups. Deviations are widened by √(n / (n − 1)) for each group and the quantiles
    are those of Student's t, since a plain percentile interval of few units is too short. NaN limits where a group has
    a single unit.

    Source: Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69 (2015).
    """
    estimate = differences.mean
    if differences.smallest < 2:
        return Interval.unknown(estimate)
    tail = float(stats.norm.cdf(-student(differences.units - len(differences.groups))))
    low, high = np.quantile(resampled_deviations(differences, seed=seed), [tail, 1 - tail], axis=0)
    return Interval(estimate, estimate + low, estimate + high)


def studentized_interval(differences: Strata, *, seed: int = 0) -> Interval:
    """`differences.mean` of every column with its studentized bootstrap interval, for quantities with a long tail.

    Units are resampled within their groups, and each resample's mean is divided by its own standard error, so that the
    limit on the side of the tail is further out. For symmetric quantities `paired_interval` is shorter and no worse.
    NaN limits where a group has a single unit, or so few that resamples have no error of their own.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 12.5; Hall, Theoretical Comparison
    of Bootstrap Confidence Intervals, Annals of Statistics 16 (1988).
    """
    estimate, count = differences.mean, len(differences.groups)
    if differences.smallest < 2:
        return Interval.unknown(estimate)
    means, squares = (np.zeros((RESAMPLES, len(estimate))) for _ in range(2))
    for centred, draws in _resamples(differences, seed):
        units = len(centred)
        mean = draws @ centred / units
        means += mean / count
        spread = draws @ centred**2 / units - mean**2
        # A resample of one repeated unit has a variance of rounding errors only.
        squares += np.where(spread > TIE * mean**2, spread, 0.0) / (units - 1) / count**2
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(means == 0, 0.0, means / np.sqrt(squares))
    ends = np.quantile(steps, TAILS[::-1], axis=0, method="closest_observation")
    low, high = (np.where(np.isfinite(end), estimate - end * differences.standard_error, np.nan) for end in ends)
    return Interval(estimate, low, high)


def resampled_deviations(differences: Strata, *, seed: int = 0) -> Floats:
    """Means of `RESAMPLES` resamples minus `differences.mean`, `(resample, column)`, widened by √(n / (n − 1)).

    The same units are resampled in every column. Every group has two units or more.
    """
    total = np.zeros((RESAMPLES, len(differences.mean)))
    for centred, draws in _resamples(differences, seed):
        units = len(centred)
        total += draws @ centred / units * np.sqrt(units / (units - 1))
    return total / len(differences.groups)


def flip_interval(flips: Strata) -> Interval:
    """Difference of two paired proportions, from −1, 0 or 1 for each image, of every column: adjusted Wald interval.

    A bootstrap of few events is degenerate: if no image flips, none does in a resample either. Here one image of
    each flip, −1 and 1, is added, spread evenly over the K groups, and variances within groups are summed; with one
    group the interval is exactly Bonett and Price's. Its middle is slightly nearer to 0 than `flips.mean`.
    Limits are cut at −1 and 1, and NaN where one of several groups has a single image.

    In simulation a nominal 95 % covers 94 to 100 %, the bootstrap as little as 2 %; see `docs/interventions.md`.

    Source: Bonett and Price, Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on
    Paired Data, Journal of Educational and Behavioral Statistics 37 (2012).
    """
    count = len(flips.groups)
    added = 1 / count
    middle, variance = np.zeros_like(flips.mean), np.zeros_like(flips.mean)
    for group in flips.groups:
        images = len(group) + 2 * added
        falls, rises = ((np.sum(group == flip, axis=0) + added) / images for flip in (-1, 1))
        middle += (rises - falls) / count
        # With several groups, each has its own mean, which takes a degree of freedom.
        variance += (falls + rises - (rises - falls) ** 2) / (images - (1 - added)) / count**2
    if count > 1 and flips.smallest < 2:
        return Interval.unknown(flips.mean)
    reach = NORMAL * np.sqrt(variance)
    return Interval(flips.mean, np.maximum(middle - reach, -1.0), np.minimum(middle + reach, 1.0))


def share_interval(hits: Strata) -> Interval:
    """Mean over groups of the share of images with the value 1, not 0, in every column, with Wilson's score interval.

    n is the size of one sample whose mean has the same variance, K² / Σ 1/n_c, which is the number of images
    if groups have equal sizes. Differences between the shares of groups are ignored, which makes the interval slightly
    too long.

    Source: `stats.intervals.wilson`; for the effective number Kish, Survey Sampling (1965), section 11.7.
    """
    images = len(hits.groups) ** 2 / sum(1 / len(group) for group in hits.groups)
    # Rounding can put limits outside 0 to 1.
    low, high = (np.clip(limits, 0.0, 1.0) for limits in wilson(hits.mean, images))
    return Interval(hits.mean, low, high)


def holm(p: Sequence[float] | Floats) -> Floats:
    """p values adjusted for the family-wise error rate; NaN stays NaN and does not count as a test.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")[: np.isfinite(values).sum()]
    steps = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1))
    adjusted = np.full_like(values, np.nan)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _by_class(values: NDArray[np.floating], labels: NDArray[np.int64]) -> tuple[Floats, ...]:
    numbers = np.asarray(values, dtype=np.float64)
    return tuple(numbers[labels == label] for label in range(int(labels.max()) + 1))


def _resamples(differences: Strata, seed: int) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
    """Each group minus its mean, and how often each resample draws each unit, `(resample, unit)`; a group at a time."""
    rng = np.random.default_rng(seed)
    for group in differences.groups:
        units = len(group)
        yield group - group.mean(axis=0), rng.multinomial(units, np.full(units, 1 / units), size=RESAMPLES)
