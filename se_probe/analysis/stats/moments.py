"""Moments of classes, and variance between and within them, on plain arrays; imports numpy only.

The last axis runs over classes. Classes have equal weights, whatever their numbers of images.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Moments of classes.

    Attributes:
        count: images of each class, `(class,)`.
        mean: class means, `(…, class)`.
        m2: sums of squared deviations from the class means, `(…, class)`.

    Source: Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, The American Statistician 37 (1983).
    """

    count: NDArray[np.int64]
    mean: Floats
    m2: Floats

    def of_classes(self, index: NDArray[np.int64]) -> Self:
        """The moments of some of the classes."""
        return replace(self, count=self.count[index], mean=self.mean[..., index], m2=self.m2[..., index])


def unbiased_variance(count: ArrayLike, m2: ArrayLike) -> Floats:
    """m2 / (n − 1), broadcast; NaN where a class has fewer than two images."""
    images = np.asarray(count, dtype=np.float64)
    return np.where(images >= 2, np.asarray(m2, dtype=np.float64) / np.maximum(images - 1, 1), np.nan)


def variance_of_mean(count: ArrayLike, m2: ArrayLike) -> Floats:
    """Squared standard error of a class mean, variance / n; NaN where n < 2."""
    return unbiased_variance(count, m2) / np.maximum(np.asarray(count, dtype=np.float64), 1)


def standard_error(count: ArrayLike, m2: ArrayLike) -> Floats:
    """Standard error of a class mean, √(variance / n); NaN where n < 2."""
    return np.sqrt(variance_of_mean(count, m2))


def sample_variance(values: ArrayLike) -> Floats:
    """Unbiased variance of the numbers along the last axis; NaN where there are fewer than two."""
    numbers = np.asarray(values, dtype=np.float64)
    size = numbers.shape[-1]
    return unbiased_variance(size, size * np.var(numbers, axis=-1))


def equal_weight_mean(mean: ArrayLike) -> Floats:
    """Mean over classes with equal weights.

    Source: the "all" curve of Hu et al., Squeeze-and-Excitation Networks, "Role of Excitation".
    """
    return np.asarray(np.mean(np.asarray(mean, dtype=np.float64), axis=-1))


def equal_weight_standard_error(count: ArrayLike, m2: ArrayLike) -> Floats:
    """Standard error of `equal_weight_mean` for these K classes, √(Σ s²/n) / K; NaN where any n < 2."""
    variances = variance_of_mean(count, m2)
    return np.asarray(np.sqrt(np.sum(variances, axis=-1)) / variances.shape[-1])


def equal_weight_variance(moments: Moments) -> Floats:
    """Unbiased variance over images of the equal-weight mixture of classes.

    Law of total variance: the sum of `components`. NaN where any class has fewer than two images.
    """
    parts = components(moments)
    return np.asarray(parts.within + (parts.between if moments.count.size > 1 else 0.0))


@dataclass(frozen=True)
class Components:
    """Unbiased estimates of the variance components of each channel.

    Attributes:
        between: variance of the true class means, `(1/K) Σ (µ_k − µ̄)²`; its estimate can fall below 0.
        within: mean over classes of the variance over images.
    """

    between: Floats
    within: Floats

    def pooled(self) -> "Components":
        """The components summed over all channels."""
        return Components(np.asarray(np.sum(self.between)), np.asarray(np.sum(self.within)))


def components(moments: Moments) -> Components:
    """Split the variance of images into a part between and a part within classes.

    `within` = mean of s²_k; `between` = (1/K) Σ (m_k − m̄)² − (K − 1)/K · mean of s²_k/n_k, without the noise of the
    class means. NaN where a class has one image, and `between` for a single class.

    Source: the method of moments for one-way layouts (Searle, Casella, McCulloch, Variance Components, 1992).
    """
    count, m2, classes = moments.count, moments.m2, moments.count.size
    noise = np.mean(variance_of_mean(count, m2), axis=-1)
    spread = np.var(moments.mean, axis=-1)
    between = spread - (classes - 1) / classes * noise if classes > 1 else np.full_like(noise, np.nan)
    return Components(np.asarray(between), np.asarray(np.mean(unbiased_variance(count, m2), axis=-1)))


def omega_squared(parts: Components) -> Floats:
    """Share of the variance over images that lies between classes, ω² = between / (between + within); at most 1.

    Centred on 0 where classes do not differ, whatever the number of images; NaN where nothing varies. A share of a tiny
    variance means little, so show the spread in gate units as well.

    Source: Hays, Statistics for Psychologists (1963), whose ω² = (SSB − (K − 1) MSW) / (SST + MSW) it is for equal
    counts.
    """
    total = np.asarray(parts.between + parts.within)
    return np.where(total > 0, parts.between / np.where(total > 0, total, 1.0), np.nan)


def between_class_sd(parts: Components, classes: int) -> Floats:
    """Standard deviation between the true means of classes, without the noise of the means, in the unit of the gates.

    √(K/(K − 1) · between), that of a population of which K classes were drawn; 0 where noise explains all, NaN for a
    single class.
    """
    if classes < 2:
        return np.full_like(parts.between, np.nan)
    return np.asarray(np.sqrt(np.maximum(parts.between, 0.0) * classes / (classes - 1)))
