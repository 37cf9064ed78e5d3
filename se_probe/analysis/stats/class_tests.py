"""Tests of whether class means differ, with a variance for each class, and false-discovery control.

The classical F test and permuted labels assume equal variances. Where one class has few images and a large variance,
both call channels class-dependent far too often (`benchmarks/levels.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis.stats.moments import Floats, Moments, variance_of_mean

FEWEST_DEGREES = 5.0
"""Fewest degrees of freedom of the noise of class means for which `anova_type_test` gives p."""
FEWEST_CARRIERS = 16.0
"""Smallest effective number of images behind the noise of class means for which `bootstrap_test` judges a channel."""
MOST_UNEVEN = 2.0
"""Largest class over the smallest, in images, up to which `bootstrap_test` holds its level in single channels."""
TIE = 1e-9
"""Relative tolerance of ties: sums of the same numbers in another order differ in their last digits."""


@dataclass(frozen=True)
class ClassTest:
    """p values of each column, `channel`, and of all columns together, `site`; NaN where none is reliable."""

    channel: Floats
    site: float


def anova_type_test(moments: Moments) -> tuple[Floats, Floats]:
    """Anova-type statistic of the equality of class means (last axis), and its p value, from class moments.

    F = [Σ (m_k − m̄)² / (K − 1)] / mean(s²_k / n_k), which is Fisher's with equal counts. Its degrees of freedom are
    Box's, from the variance of each class, so that variances and counts may differ. p is NaN where the noise of
    class means has fewer than `FEWEST_DEGREES` degrees of freedom, which includes five classes or fewer. F is NaN where
    nothing varies within classes.

    Source: Brunner, Dette and Munk, Box-type approximations in nonparametric factorial designs, JASA 92 (1997).
    """
    images, means, classes = moments.count, moments.mean, moments.count.size
    noise = variance_of_mean(images, moments.m2)
    total = noise.sum(axis=-1)
    judged = (total > 0) & (classes > 1)
    safe = np.where(judged, total, 1.0)
    spread = np.sum((means - means.mean(axis=-1, keepdims=True)) ** 2, axis=-1)
    f = np.where(judged, classes * spread / (max(classes - 1, 1) * safe), np.nan)
    share = noise / safe[..., None]
    squares = np.sum(share**2, axis=-1)
    over = ((classes - 1) / classes) ** 2 / (squares * (1 - 2 / classes) + 1 / classes**2)
    under = 1 / np.maximum(np.sum(share**2 / np.maximum(images - 1, 1), axis=-1), np.finfo(np.float64).tiny)
    p = np.where(judged & (over >= FEWEST_DEGREES), stats.f.sf(f, over, under), np.nan)
    return f, np.asarray(p, dtype=np.float64)


def bootstrap_test(groups: Sequence[NDArray[np.floating]], *, resamples: int = 999, seed: int = 0) -> ClassTest:
    """Test whether the mean gates of classes differ; `groups` has an array `(image, column)` for each class.

    The statistic is that of `anova_type_test`, for the site with numerator and denominator summed over columns. Images
    are resampled within each class about the class's own mean, so that classes keep their variances and the shapes of
    their distributions; p = (1 + as extreme) / (1 + resamples), never 0.

    NaN for fewer than two classes, a class with one image, and where nothing varies; for single channels also outside
    the bounds `FEWEST_CARRIERS` and `MOST_UNEVEN`, where no test holds its level.

    Source: Konietschke, Bathke, Harrar and Pauly, Parametric and nonparametric bootstrap methods for general MANOVA,
    Journal of Multivariate Analysis 140 (2015); for the effective number Kish, Survey Sampling (1965), section 11.7.
    """
    columns = groups[0].shape[1]
    sizes = [len(group) for group in groups]
    if len(groups) < 2 or min(sizes) < 2:
        return ClassTest(np.full(columns, np.nan), float("nan"))
    means = np.stack([group.mean(axis=0, dtype=np.float64) for group in groups])
    rest = [np.asarray(group, dtype=np.float64) - mean for group, mean in zip(groups, means, strict=True)]
    spread = np.asarray(np.sum((means - means.mean(axis=0)) ** 2, axis=0))
    noise = np.asarray(sum(np.sum(own**2, axis=0) / (len(own) * (len(own) - 1)) for own in rest))
    drawn_spread, drawn_noise = _resampled(rest, resamples, np.random.default_rng(seed))
    channel = _exceeded(spread, noise, drawn_spread, drawn_noise)
    site = _exceeded(spread.sum(), noise.sum(), drawn_spread.sum(axis=1), drawn_noise.sum(axis=1))
    uneven = max(sizes) > MOST_UNEVEN * min(sizes)
    judged = (_carriers(rest) >= FEWEST_CARRIERS) & (not uneven)
    return ClassTest(np.where(judged, channel, np.nan), float(site))


def false_discovery(p: Floats) -> Floats:
    """p values adjusted for the false-discovery rate; NaN stays NaN and does not count as a test.

    Valid for tests that are independent or positively dependent.

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995).
    """
    adjusted = np.full(p.shape, np.nan)
    judged = np.isfinite(p)
    if judged.any():
        adjusted[judged] = stats.false_discovery_control(p[judged])
    return adjusted


def _resampled(rest: Sequence[Floats], resamples: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Sum of squares between classes and noise of their means, `(resample, column)`, summed class by class."""
    total, squares, noise = (np.zeros((resamples, rest[0].shape[1])) for _ in range(3))
    for own in rest:
        images = len(own)
        draws = rng.multinomial(images, np.full(images, 1 / images), size=resamples) / images
        means, second = draws @ own, draws @ own**2
        total += means
        squares += means**2
        # A resample of one repeated image has a variance of rounding errors only.
        noise += np.where(second - means**2 > TIE * second, second - means**2, 0.0) / (images - 1)
    return squares - total**2 / len(rest), noise


def _exceeded(spread: Floats, noise: Floats, drawn_spread: Floats, drawn_noise: Floats) -> Floats:
    """p of spread/noise among the resampled ratios (first axis); NaN where there is no noise."""
    # As products, because a resample without noise has an infinite ratio, which counts as more extreme.
    extreme = np.sum(drawn_spread * noise >= spread * drawn_noise * (1 - TIE), axis=0)
    return np.asarray(np.where(noise > 0, (1 + extreme) / (1 + len(drawn_spread)), np.nan))


def _carriers(rest: Sequence[Floats]) -> Floats:
    """Effective number of images behind the noise of the class means in each column."""
    shares = [own**2 / len(own) ** 2 for own in rest]
    total = np.asarray(sum(share.sum(axis=0) for share in shares))
    squares = np.asarray(sum(np.sum(share**2, axis=0) for share in shares))
    return np.asarray(total**2 / np.where(squares > 0, squares, 1.0))
