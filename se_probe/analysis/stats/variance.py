"""Variance between and within classes, from class moments alone.

Every class has the same weight, so that the shares do not depend on how many images of each were taken. With
equal counts the corrected share is exactly Hays' ω².
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from se_probe.analysis.stats.moments import Floats, unbiased_variance


@dataclass(frozen=True)
class Components:
    """Unbiased estimates of variance components, one a channel.

    Attributes:
        between: variance of the true class means, `(1/K) Σ (µ_k − µ̄)²`; its estimate can fall below 0.
        within: mean over classes of the variance over images.
    """

    between: Floats
    within: Floats

    def pooled(self) -> "Components":
        """The components summed over all channels."""
        return Components(np.asarray(np.sum(self.between)), np.asarray(np.sum(self.within)))


def components(count: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> Components:
    """Split the variance of images into a part between and a part within classes (last axis).

    `within` = mean of s²_k; `between` = (1/K) Σ (m_k − m̄)² − (K − 1)/K · mean of s²_k/n_k, which takes away
    what the class means vary by because they are means of n_k images. NaN where a class has one image,
    and `between` for a single class.

    Args:
        count: images of each class, `(class,)`.
        mean: class means, `(…, class)`.
        m2: sums of squared deviations from the class means, `(…, class)`.

    Source: the method of moments for one-way layouts (Searle, Casella, McCulloch, Variance Components, 1992),
    with equal weights for classes.
    """
    means = np.asarray(mean, dtype=np.float64)
    classes = means.shape[-1]
    variance = unbiased_variance(count, m2)
    noise = np.mean(variance / np.asarray(count, dtype=np.float64), axis=-1)
    between = np.var(means, axis=-1) - (classes - 1) / classes * noise if classes > 1 else np.full_like(noise, np.nan)
    return Components(np.asarray(between), np.asarray(np.mean(variance, axis=-1)))


def omega_squared(parts: Components) -> Floats:
    """Share of the variance over images that lies between classes, corrected for bias; at most 1.

    ω² = between / (between + within). Near 0, and as often below as above it, where classes do not differ,
    whatever the number of images; NaN where nothing varies. A share of a tiny variance means little: show
    the spread in gate units beside it.

    Source: Hays, Statistics for Psychologists (1963); ω² = (SSB − (K − 1) MSW) / (SST + MSW).
    """
    total = np.asarray(parts.between + parts.within)
    safe = np.where(total > 0, total, 1.0)
    return np.where(total > 0, parts.between / safe, np.nan)


def between_class_sd(parts: Components, classes: int) -> Floats:
    """Standard deviation between the true means of classes, without the noise of the means, in the unit of the gates.

    √(K/(K − 1) · between), that of a population of classes of which K were drawn; 0 where noise explains all, NaN
    for a single class.
    """
    if classes < 2:
        return np.full_like(parts.between, np.nan)
    return np.asarray(np.sqrt(np.maximum(parts.between, 0.0) * classes / (classes - 1)))
