"""Variance between and within classes, from class moments alone.

Every class has the same weight, so that the shares do not depend on how many images of each were taken. With
equal counts the corrected share is exactly Hays' ω².
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

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


def f_test(count: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> tuple[Floats, Floats]:
    """F statistic of the one-way analysis of variance over the last axis, and its p value.

    Weights classes by their counts, as the test asks for. Exact for normal gates of equal variance, and
    robust otherwise where counts are equal. NaN where nothing varies within classes.

    Source: Fisher, Statistical Methods for Research Workers (1925).
    """
    images, means = np.asarray(count, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    total, classes = images.sum(), means.shape[-1]
    grand = np.sum(images * means, axis=-1, keepdims=True) / total
    between = np.sum(images * (means - grand) ** 2, axis=-1) / max(classes - 1, 1)
    within = np.sum(np.asarray(m2, dtype=np.float64), axis=-1) / max(total - classes, 1)
    judged = (within > 0) & (classes > 1) & (total > classes)
    f = np.where(judged, between / np.where(judged, within, 1.0), np.nan)
    return f, np.asarray(stats.f.sf(f, classes - 1, total - classes), dtype=np.float64)
