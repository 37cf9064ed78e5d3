"""Statistical kernels on plain arrays: this file imports numpy and nothing else.

All arithmetic is float64. A class is described by its moments: `count` n, `mean`, and `m2`, the sum of
squared deviations from the mean (Chan, Golub, LeVeque 1983). In the `equal_weight_*` kernels the last axis
runs over classes.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def unbiased_variance(count: ArrayLike, m2: ArrayLike) -> Floats:
    """m2 / (n − 1), broadcast; NaN where a class has fewer than two images."""
    images = np.asarray(count, dtype=np.float64)
    deviations = np.asarray(m2, dtype=np.float64)
    return np.where(images >= 2, deviations / np.maximum(images - 1, 1), np.nan)


def standard_error(count: ArrayLike, m2: ArrayLike) -> Floats:
    """Standard error of a class mean, √(variance / n); NaN where n < 2."""
    return np.sqrt(_variance_of_mean(count, m2))


def sample_variance(values: ArrayLike) -> Floats:
    """Unbiased variance of the numbers along the last axis; NaN where there are fewer than two."""
    numbers = np.asarray(values, dtype=np.float64)
    size = numbers.shape[-1]
    return unbiased_variance(size, size * np.var(numbers, axis=-1))


def equal_weight_mean(mean: ArrayLike) -> Floats:
    """Mean over classes (last axis) in which every class counts the same, however many images it has.

    Source: the "all" curve of Hu et al., Squeeze-and-Excitation Networks, "Role of Excitation", where all
    classes have equally many images.
    """
    return np.asarray(np.mean(np.asarray(mean, dtype=np.float64), axis=-1))


def equal_weight_variance(count: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> Floats:
    """Unbiased variance over images of the mixture in which every class (last axis) has the same weight.

    Law of total variance: the mean variance within classes plus the variance of the class means, less the
    part of the latter, (K − 1)/K · mean(s²/n), that is due to class means being estimated from n images.
    NaN where any class has fewer than two images.

    Args:
        count: images of each class, `(class,)`.
        mean: class means, `(…, class)`.
        m2: sums of squared deviations from the class means, `(…, class)`.
    """
    means = np.asarray(mean, dtype=np.float64)
    classes = means.shape[-1]
    within = np.mean(unbiased_variance(count, m2), axis=-1)
    noise = np.mean(_variance_of_mean(count, m2), axis=-1)
    return np.asarray(within + np.var(means, axis=-1) - (classes - 1) / classes * noise)


def equal_weight_standard_error(count: ArrayLike, m2: ArrayLike) -> Floats:
    """Standard error of `equal_weight_mean` for these K classes, √(Σ s²/n) / K; NaN where any n < 2."""
    variances = _variance_of_mean(count, m2)
    return np.asarray(np.sqrt(np.sum(variances, axis=-1)) / variances.shape[-1])


def _variance_of_mean(count: ArrayLike, m2: ArrayLike) -> Floats:
    images = np.asarray(count, dtype=np.float64)
    return unbiased_variance(count, m2) / np.maximum(images, 1)
