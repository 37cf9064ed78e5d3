"""Confidence intervals: quantiles and scales, Wilson's interval, the jackknife over classes, and intervals of ω².

Intervals over classes are for another draw of classes and their images, those over images for another draw of images of
the same classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from se_probe.analysis.stats.moments import (
    Components,
    Floats,
    Moments,
    components,
    omega_squared,
    sample_variance,
    unbiased_variance,
    variance_of_mean,
)

CONFIDENCE = 0.95
"""Confidence of all intervals."""
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
NORMAL = float(stats.norm.ppf(TAILS[1]))
"""Standard errors on either side of a normal estimate."""
FEWEST_CLASSES = 5
MOST_GROUPS = 50
"""More groups of classes would not make the jackknife's error noticeably more precise."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence limits, of one shape."""

    estimate: Floats
    low: Floats
    high: Floats

    @classmethod
    def unknown(cls, estimate: Floats) -> "Interval":
        """An estimate whose limits are NaN."""
        missing = np.full_like(estimate, np.nan)
        return cls(estimate, missing, missing)


def student(freedom: int) -> float:
    """Standard errors on either side of an estimate whose error has `freedom` degrees of freedom (Student's t)."""
    return float(stats.t.ppf(TAILS[1], freedom))


def fisher(correlation: ArrayLike, most: float = 1 - 1e-12) -> Floats:
    """Correlations on Fisher's scale, artanh, clipped at ±`most` because artanh of ±1 is infinite."""
    return np.asarray(np.arctanh(np.clip(correlation, -most, most)))


def wilson(share: Floats, images: float) -> tuple[Floats, Floats]:
    """Limits of Wilson's score interval for a share of `images` images.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927).
    """
    stretch = 1 + NORMAL**2 / images
    middle = (share + NORMAL**2 / (2 * images)) / stretch
    reach = NORMAL * np.sqrt(share * (1 - share) / images + NORMAL**2 / (4 * images**2)) / stretch
    return middle - reach, middle + reach


def jackknife_error(without_each: Floats) -> Floats:
    """Jackknife standard error, from the values without each unit (last axis).

    Source: Tukey (1958); Efron and Tibshirani, An Introduction to the Bootstrap (1993), equation 11.5.
    """
    units = without_each.shape[-1]
    return np.asarray(np.sqrt((units - 1) * np.var(without_each, axis=-1)))


def class_groups(classes: int, *, most: int = MOST_GROUPS, seed: int = 0) -> NDArray[np.int64]:
    """Group of each class, 0 … G − 1: one group per class, or random groups of even size.

    Groups are the same at every site, so that errors of differences and trends over sites are correct.
    """
    if classes <= most:
        return np.arange(classes)
    return np.random.default_rng(seed).permutation(np.arange(classes) % most)


def pooled_components_without(moments: Moments, groups: NDArray[np.int64]) -> Components:
    """The `components` of moments `(column, class)`, summed over columns, without each group of classes: `(G,)`.

    `groups` is the group of each class, 0 … G − 1. Two classes or more must remain without any group.

    Source: `stats.moments.components`, whose sums over classes are taken here from sums over groups.
    """
    member = np.eye(groups.max() + 1)[groups]
    # Subtracting the grand mean does not change the result, but keeps the digits of small squares.
    means = moments.mean - moments.mean.mean(axis=-1, keepdims=True)
    variance = unbiased_variance(moments.count, moments.m2).sum(axis=0)
    left = len(groups) - member.sum(axis=0)
    sums = means @ member
    squares, within, noise = (
        (values.sum() - values @ member) / left
        for values in (np.sum(means**2, axis=0), variance, variance / moments.count)
    )
    centre = (sums.sum(axis=1, keepdims=True) - sums) / left
    between = squares - np.sum(centre**2, axis=0) - (left - 1) / left * noise
    return Components(np.asarray(between), np.asarray(within))


def jackknife_limits(whole: float, without: Floats, groups: NDArray[np.int64]) -> tuple[float, float]:
    """95 % limits of a number from its values `without` each of the G `groups` of classes, with Student's t.

    Source: Busing, Meijer and van der Leeden, Delete-m jackknife for unequal m, Statistics and Computing 9
    (1999), equation 8; with groups of one class it is Tukey's (1958).
    """
    ratio = len(groups) / np.bincount(groups)
    pseudo = ratio * whole - (ratio - 1) * without
    reach = student(len(ratio) - 1) * float(np.sqrt(np.mean((pseudo - np.mean(pseudo)) ** 2 / (ratio - 1))))
    return whole - reach, whole + reach


def omega_squared_over_classes(moments: Moments, *, pool: bool = False) -> Interval:
    """ω² with an interval for another draw of as many classes and of their images, from class moments (axis last).

    The variance of the class means is taken as a χ² variable. Its degrees of freedom are the smaller of those of normal
    classes (Satterthwaite) and those that match the jackknife's variance over classes, times K/(K + 4) because they are
    estimated. NaN limits for fewer than `FEWEST_CLASSES` classes and where class means do not vary.

    In simulation a nominal 95 % covers 92 to 99 % for classes drawn from those of a real network. No interval covers
    reliably where few classes carry the effect and may be missing from the draw (`docs/analyses.md`).

    `pool` sums the components over all channels first, so that channels count by their variance.

    Source: Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2
    (1946); Arvesen, Jackknifing U-statistics, Annals of Mathematical Statistics 40 (1969); the factor is our own.
    """
    means, classes = moments.mean, moments.count.size
    parts, spread = components(moments), sample_variance(means)
    noise = np.mean(variance_of_mean(moments.count, moments.m2), axis=-1)
    if pool:
        parts, spread, noise = parts.pooled(), np.asarray(spread.sum()), np.asarray(noise.sum())
    estimate = omega_squared(parts)
    if classes < FEWEST_CLASSES:
        return Interval.unknown(estimate)
    degrees = _degrees_of_spread(means, pool=pool) * classes / (classes + 4)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [spread * degrees / stats.chi2.ppf(tail, degrees) for tail in reversed(TAILS)]
        between = [(classes - 1) / classes * (end - noise) for end in ends]
        # An infinite variance is all between classes.
        low, high = (np.where(np.isinf(end), 1.0, end / (end + parts.within)) for end in between)
    known = (spread > 0) & np.isfinite(estimate)
    return Interval(estimate, np.where(known, low, np.nan), np.where(known, high, np.nan))


def omega_squared_over_images(
    groups: Sequence[NDArray[np.floating]], *, resamples: int = 999, seed: int = 0
) -> Interval:
    """ω² pooled over columns, with an interval for another draw of images, from `(image, column)` of each class.

    Images are resampled within each class. Percentiles of the deviations from the share of the images themselves, taken
    as the population, are added to the estimate, on the scale −log(1 − ω²). In simulation a nominal 95 % covers 94 to
    96 % on the gates of a real network. NaN limits where nothing varies within classes or one has a single image.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), sections 3.2 and 5.2.
    """
    grand = np.mean([group.mean(axis=0, dtype=np.float64) for group in groups], axis=0)
    centred = [np.asarray(group, dtype=np.float64) - grand for group in groups]
    means = np.stack([group.mean(axis=0) for group in centred], axis=-1)
    m2 = np.stack([group.var(axis=0) * len(group) for group in centred], axis=-1)
    whole = components(Moments(np.array([len(group) for group in centred]), means, m2)).pooled()
    estimate = omega_squared(whole)
    if not whole.within > 0:
        return Interval.unknown(estimate)
    # log(total/within) of the images themselves, taken as the population
    parent = np.log1p(np.sum(np.var(means, axis=-1)) / np.mean([np.sum(group.var(axis=0)) for group in centred]))
    resampled = _resampled_components(centred, resamples, np.random.default_rng(seed))
    low, high = np.quantile(_log_total_over_within(omega_squared(resampled)) - parent, TAILS)
    ends = (-np.expm1(-(_log_total_over_within(estimate) + end)) for end in (low, high))
    return Interval(estimate, np.asarray(next(ends)), np.asarray(next(ends)))


def _degrees_of_spread(means: Floats, *, pool: bool) -> Floats:
    """Degrees of freedom of the variance of class means (last axis), of each channel or summed over all."""
    classes = means.shape[-1]
    centred = means - means.mean(axis=-1, keepdims=True)
    own = centred**2
    normal = np.asarray(classes - 1.0)
    if pool:
        flat = centred.reshape(-1, classes)
        own = np.sum(flat**2, axis=0)
        normal = _degrees_of_normal(flat)
    total = own.sum(axis=-1)
    without = (total[..., None] - own * classes / (classes - 1)) / (classes - 2)
    variance = jackknife_error(without) ** 2
    spread = total / (classes - 1)
    jackknifed = np.divide(2 * spread**2, variance, out=np.full_like(spread, np.inf), where=variance > 0)
    return np.asarray(np.minimum(normal, jackknifed))


def _degrees_of_normal(centred: Floats) -> Floats:
    """(K − 1) (tr Σ)² / tr Σ² for the covariance Σ of class means over columns, `centred` (column, class).

    Source: Srivastava, Some tests concerning the covariance matrix in high dimensional data, Journal of the Japan
    Statistical Society 35 (2005), for the unbiased estimate of tr Σ².
    """
    classes = centred.shape[-1]
    gram = centred.T @ centred if classes <= len(centred) else centred @ centred.T
    trace = np.trace(gram) / (classes - 1)
    factor = (classes - 1) ** 2 / ((classes - 2) * (classes + 1))
    square = factor * (np.sum((gram / (classes - 1)) ** 2) - trace**2 / (classes - 1))
    # At most a thousand directions: the estimate from few classes can fall below 0.
    least = max(trace**2 / 1000, np.finfo(np.float64).tiny)
    return np.asarray((classes - 1) * trace**2 / np.clip(square, least, max(trace**2, least)))


def _resampled_components(centred: Sequence[Floats], resamples: int, rng: np.random.Generator) -> Components:
    """Components of each resample, summed over columns, one class at a time to save memory."""
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


def _log_total_over_within(share: Floats) -> Floats:
    return np.asarray(-np.log1p(-np.where(share < 1, share, np.nan)))
