"""Effects of channels: agreement with exact replacement, sizes, concentration, and selectivity against size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from se_probe.analysis.stats.intervals import FEWEST_CLASSES, TAILS, fisher, student
from se_probe.analysis.stats.moments import (
    Floats,
    Moments,
    components,
    equal_weight_variance,
    omega_squared,
    standard_error,
)
from se_probe.analysis.stats.rank_correlation import (
    RankCorrelation,
    jackknife_draws,
    partial_rank_correlation,
    rank_correlation,
)

LEAST_CORRELATION = 0.8
"""Correlation below which first-order effects share less than two thirds of the variance of exact ones."""
SLOPES = (0.5, 1.5)
"""Range of slopes, exact on first-order effect, in which their sizes are comparable."""
DRAWS = 200


@dataclass(frozen=True)
class Agreement:
    """Agreement of exact with first-order effects: Pearson's correlation, least-squares slope, RMS error."""

    correlation: float
    slope: float
    rmse: float

    @property
    def holds(self) -> bool:
        """Whether first-order effects can replace exact ones, by `LEAST_CORRELATION` and `SLOPES`."""
        return self.correlation >= LEAST_CORRELATION and SLOPES[0] <= self.slope <= SLOPES[1]


def agreement(first_order: ArrayLike, exact: ArrayLike) -> Agreement:
    """Compare first-order with exact effects of the same channels and images; NaN where either does not vary."""
    first, other = np.asarray(first_order, dtype=np.float64), np.asarray(exact, dtype=np.float64)
    rmse = float(np.sqrt(np.mean((first - other) ** 2)))
    if np.ptp(first) == 0 or np.ptp(other) == 0:
        return Agreement(float("nan"), float("nan"), rmse)
    slope = float(np.cov(first, other)[0, 1] / np.var(first, ddof=1))
    return Agreement(float(np.corrcoef(first, other)[0, 1]), slope, rmse)


def class_effects(moments: Moments) -> tuple[Floats, Floats, Floats]:
    """Limits of the mean effect in each class over images, and p of no effect, by Student's t of n − 1 degrees.

    p is NaN where effects do not vary.
    """
    images, means = moments.count, moments.mean
    error = standard_error(images, moments.m2)
    reach = stats.t.ppf(TAILS[1], images - 1) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(error > 0, 2 * stats.t.sf(np.abs(means) / error, images - 1), np.nan)
    return means - reach, means + reach, p


def effect_size(moments: Moments) -> Floats:
    """Root mean square effect over images, classes with equal weights."""
    return np.asarray(np.sqrt(np.mean(moments.mean**2 + moments.m2 / moments.count, axis=-1)))


def share_of_half(sizes: Floats) -> float:
    """Smallest share of channels that carry half of the sum of sizes; 0.5 where all are equal, NaN where all are 0."""
    ordered = np.sort(sizes)[::-1]
    total = ordered.sum()
    if not total > 0:
        return float("nan")
    needed = int(np.searchsorted(np.cumsum(ordered), total / 2 * (1 - 1e-12)) + 1)
    return needed / len(sizes)


@dataclass(frozen=True)
class SelectivityAndSize:
    """Rank correlations over the channels of a site, with limits for another draw of classes.

    Attributes:
        plain: of class selectivity, ω² of the gate, with the size of its effect.
        partial: the same, controlling for the standard deviation of the gate.
        draws: draws of both, `(2, draw)`, matched between sites with the same classes.
    """

    plain: RankCorrelation
    partial: RankCorrelation
    draws: Floats


def selectivity_and_size(gate: Moments, effect: Moments, groups: NDArray[np.int64]) -> SelectivityAndSize:
    """Correlate class selectivity with the size of the effect over channels, from moments `(channel, class)` of both.

    Channels see the same images and are not independent: classes are left out by `groups` (`intervals.class_groups`),
    for all channels and both measures at once, and measures are drawn with the jackknife's covariance. NaN limits for
    fewer than `FEWEST_CLASSES` classes.

    Source: after Morcos et al., On the importance of single directions for generalization, ICLR 2018.
    """
    whole = _measures(gate, effect)
    values = _correlations(whole)
    if len(groups) < FEWEST_CLASSES or not np.all(np.isfinite(values)):
        unknown = [RankCorrelation(float(value), np.nan, np.nan) for value in values]
        return SelectivityAndSize(unknown[0], unknown[1], np.full((2, DRAWS), np.nan))
    kept = [np.flatnonzero(groups != group) for group in range(groups.max() + 1)]
    without = np.stack([_measures(gate.of_classes(index), effect.of_classes(index)).ravel() for index in kept])
    drawn = jackknife_draws(whole.ravel(), without, DRAWS).reshape(DRAWS, *whole.shape)
    draws = np.array([_correlations(row) for row in drawn]).T
    plain, partial = (limits_of(value, row, len(kept)) for value, row in zip(values, draws, strict=True))
    return SelectivityAndSize(plain, partial, draws)


def limits_of(value: float, draws: Floats, groups: int) -> RankCorrelation:
    """95 % limits of a correlation, or of a mean of correlations, from its draws, on Fisher's scale."""
    reach, centre = student(groups - 1) * float(np.std(fisher(draws, 0.9999))), float(fisher(value))
    return RankCorrelation(float(value), float(np.tanh(centre - reach)), float(np.tanh(centre + reach)))


def _measures(gate: Moments, effect: Moments) -> Floats:
    """Selectivity, size of the effect and standard deviation of the gate, `(3, channel)`."""
    share = omega_squared(components(gate))
    spread = np.sqrt(np.maximum(equal_weight_variance(gate), 0.0))
    # A channel that never moves is not selective.
    return np.stack([np.nan_to_num(share), effect_size(effect), spread])


def _correlations(measures: Floats) -> Floats:
    selective, size, spread = measures
    return np.array([rank_correlation(selective, size).value, partial_rank_correlation(selective, size, spread)])
