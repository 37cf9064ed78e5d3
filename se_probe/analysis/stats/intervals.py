"""Confidence intervals: jackknife over classes, bootstrap over images.

What an interval covers depends on what is redrawn. Over classes: what other classes of the same kind, with
their own images, would give. Over images: what other images of the same classes would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from se_probe.analysis.stats.moments import Floats, unbiased_variance
from se_probe.analysis.stats.variance import Components, components, omega_squared

CONFIDENCE = 0.95
FEWEST_CLASSES = 5


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence limits, of one shape."""

    estimate: Floats
    low: Floats
    high: Floats


def omega_squared_over_classes(
    count: ArrayLike, mean: ArrayLike, m2: ArrayLike, *, pool: bool = False, confidence: float = CONFIDENCE
) -> Interval:
    """ω² with an interval for the draw of classes and of their images, from class moments (class axis last).

    `pool` sums both variance components over all channels first: one number, on which a channel that hardly
    moves has hardly any weight. Delete-one-class jackknife of log(total/within) = −log(1 − ω²), with
    Student's t of K − 1 degrees; NaN limits for fewer than `FEWEST_CLASSES` classes. In simulation a nominal 95 %
    covers 92 to 97 % for sums over channels, and 92 % for a channel alone with 50 classes, 90 % with 20.

    Source: Arvesen, Jackknifing U-statistics, Annals of Mathematical Statistics 40 (1969); the logarithm:
    Arvesen and Schmitz, Biometrics 26 (1970).
    """
    whole, without = components(count, mean, m2), _components_without_each(count, mean, m2)
    if pool:
        axes = tuple(range(without.between.ndim - 1))
        whole = whole.pooled()
        without = Components(without.between.sum(axis=axes), without.within.sum(axis=axes))
    classes = without.between.shape[-1]
    estimate = omega_squared(whole)
    error = jackknife_error(_log_total_over_within(omega_squared(without)))
    reach = stats.t.ppf((1 + confidence) / 2, classes - 1) * error if classes >= FEWEST_CLASSES else np.nan
    return _from_log(estimate, reach, reach)


def jackknife_error(without_each: Floats) -> Floats:
    """Standard error from the values without each of the units of the last axis.

    Source: Tukey (1958); Efron and Tibshirani, An Introduction to the Bootstrap (1993), equation 11.5.
    """
    units = without_each.shape[-1]
    return np.asarray(np.sqrt((units - 1) * np.var(without_each, axis=-1)))


def omega_squared_over_images(
    groups: Sequence[NDArray[np.floating]], *, resamples: int = 999, seed: int = 0, confidence: float = CONFIDENCE
) -> Interval:
    """ω² pooled over all columns, with an interval for the draw of images of these same classes.

    `groups` has an array `(image, column)` a class. Images are redrawn within each class. The images redrawn
    from have a share of their own that no correction applies to, so the interval is built of the deviations
    from that share (basic bootstrap, on the scale −log(1 − ω²)). In simulation a nominal 95 % covers 92 to
    97 %, and more near 0. NaN limits where nothing varies within classes or one has a single image.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), sections 3.2 and 5.2.
    """
    grand = np.mean([group.mean(axis=0, dtype=np.float64) for group in groups], axis=0)
    centred = [np.asarray(group, dtype=np.float64) - grand for group in groups]
    whole = _group_components(centred).pooled()
    estimate = omega_squared(whole)
    if not whole.within > 0:
        return Interval(estimate, np.asarray(np.nan), np.asarray(np.nan))
    redrawn = _resampled_components(centred, resamples, np.random.default_rng(seed))
    deviations = _log_total_over_within(omega_squared(redrawn)) - _log_of_parent(centred)
    tail = (1 - confidence) / 2
    return _from_log(estimate, np.quantile(deviations, 1 - tail), -np.quantile(deviations, tail))


def mean_interval(
    values: NDArray[np.floating], *, resamples: int = 1999, seed: int = 0, confidence: float = CONFIDENCE
) -> Interval:
    """Mean over images (first axis) of every column with its BCa bootstrap interval.

    The limits stay within the range of the values. A column that does not vary, or a single image, has the
    value itself, or NaN, as its limits.

    Source: Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987); the acceleration of a mean is a
    sixth of its skewness.
    """
    images = len(values)
    mean = values.mean(axis=0, dtype=np.float64)
    if images < 2:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    centred = np.asarray(values, dtype=np.float64) - mean
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    means = np.sort(draws @ centred / images, axis=0)
    below = np.clip((means < 0).mean(axis=0) + (means == 0).mean(axis=0) / 2, 1 / resamples, 1 - 1 / resamples)
    squares = np.sum(centred**2, axis=0)
    cubes = np.sum(centred**3, axis=0)
    acceleration = cubes / (6 * np.where(squares > 0, squares, 1.0) ** 1.5)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    low, high = (_bca_quantile(means, below, acceleration, tail) for tail in tails)
    return Interval(mean, mean + low, mean + high)


def _components_without_each(count: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> Components:
    """Components without each class in turn: the last axis runs over the class left out."""
    means = np.asarray(mean, dtype=np.float64)
    means = means - means.mean(axis=-1, keepdims=True)
    variance = unbiased_variance(count, m2)
    noise = variance / np.asarray(count, dtype=np.float64)
    left = max(means.shape[-1] - 1, 1)
    spread = _without_each(means**2) / left - (_without_each(means) / left) ** 2
    between = spread - (left - 1) / left * _without_each(noise) / left
    return Components(between, _without_each(variance) / left)


def _without_each(terms: Floats) -> Floats:
    return np.asarray(terms.sum(axis=-1, keepdims=True) - terms)


def _group_components(groups: Sequence[Floats]) -> Components:
    means = np.stack([group.mean(axis=0) for group in groups], axis=-1)
    m2 = np.stack([np.sum((group - group.mean(axis=0)) ** 2, axis=0) for group in groups], axis=-1)
    return components([len(group) for group in groups], means, m2)


def _log_of_parent(centred: Sequence[Floats]) -> float:
    """log(total/within) among the images themselves, taken as the whole population."""
    between = np.sum(np.var([group.mean(axis=0) for group in centred], axis=0))
    within = np.mean([np.sum(group.var(axis=0)) for group in centred])
    return float(np.log1p(between / within))


def _resampled_components(centred: Sequence[Floats], resamples: int, rng: np.random.Generator) -> Components:
    """Components of each resample, summed over columns; classes are added up one at a time to save memory."""
    classes, columns = len(centred), centred[0].shape[1]
    total = np.zeros((resamples, columns))
    squares, within, noise = (np.zeros(resamples) for _ in range(3))
    for group in centred:
        images = len(group)
        draws = rng.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)
        means = draws @ group / images
        row = np.sum((draws @ group**2) / images - means**2, axis=1) * images / max(images - 1, 1)
        total += means
        squares += np.sum(means**2, axis=1)
        within += row
        noise += row / images
    spread = squares / classes - np.sum((total / classes) ** 2, axis=1)
    return Components(spread - (classes - 1) / classes * noise / classes, within / classes)


def _bca_quantile(means: Floats, below: Floats, acceleration: Floats, tail: float) -> Floats:
    bias = stats.norm.ppf(below)
    shifted = bias + stats.norm.ppf(tail)
    level = stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
    place = np.clip(level * (len(means) + 1) - 1, 0, len(means) - 1).round().astype(np.int64)
    return np.asarray(np.take_along_axis(means, place[None], axis=0)[0])


def _log_total_over_within(share: Floats) -> Floats:
    below_one = np.where(share < 1, share, np.nan)
    return np.asarray(-np.log1p(-below_one))


def _from_log(estimate: Floats, down: Floats | float, up: Floats | float) -> Interval:
    theta = _log_total_over_within(estimate)
    return Interval(estimate, np.asarray(-np.expm1(-(theta - down))), np.asarray(-np.expm1(-(theta + up))))
