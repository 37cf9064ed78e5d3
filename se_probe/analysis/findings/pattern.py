"""How alike the patterns of classes over channels are, and how far they are scaled, without the noise of the means."""

import numpy as np
from numpy.typing import NDArray

from se_probe.analysis.gates import SiteGates, SiteMoments
from se_probe.analysis.stats.intervals import NORMAL, jackknife_limits
from se_probe.analysis.stats.moments import Floats, variance_of_mean

Limits = tuple[float, float]


def pattern_correlation(moments: SiteMoments, gates: SiteGates, groups: NDArray[np.int64]) -> tuple[float, Limits]:
    """Correlation over columns of the true means of a class with the mean of the others, and its 95 % limits.

    Means are noisy by s²/n in each column, which pulls correlations towards 0; it is taken away.

    Args:
        moments: means of the classes.
        gates: images of the chosen classes, on which is measured how much noise is left in a pattern as a whole, since
            images move columns together.
        groups: group of each class, see `class_groups`; the limits are for another draw of classes.

    Returns:
        At most 1; NaN where there is no pattern.

    Source: Spearman, The Proof and Measurement of Association between Two Things (1904), with the noise known.
    """
    covariance = pattern_covariance(moments, gates)
    kept = [groups != group for group in range(int(groups.max()) + 1)]
    whole = likeness(covariance)
    low, high = jackknife_limits(whole, np.array([likeness(covariance[np.ix_(keep, keep)]) for keep in kept]), groups)
    return min(whole, 1.0), (low, min(high, 1.0))


def pattern_scale(moments: SiteMoments, gates: SiteGates, groups: NDArray[np.int64]) -> tuple[float, Limits]:
    """Factor within which 95 % of the classes scale the pattern of the others, and its 95 % limits, as logarithms.

    Arguments as in `pattern_correlation`; the noise of the means, which pulls scales apart, is taken away.
    """
    mean, classes = moments.mean, moments.mean.shape[1]
    rest = (mean.sum(axis=1, keepdims=True) - mean) / (classes - 1)
    direction = rest / np.sum(rest**2, axis=0)
    scales = np.sum(mean * direction, axis=0)
    noise = np.mean(np.sum(direction**2 * variance_of_mean(moments.count, moments.m2), axis=0))
    noise *= _design_effect(gates, mean.mean(axis=1))
    variance = np.var(scales, ddof=1)
    left = np.array([np.var(scales[groups != group], ddof=1) for group in range(int(groups.max()) + 1)])
    ends = np.exp(jackknife_limits(float(np.log(variance)), np.log(left), groups))
    value, low, high = (NORMAL * float(np.sqrt(max(end - noise, 0.0))) for end in (variance, *ends))
    return value, (low, high)


def pattern_covariance(moments: SiteMoments, gates: SiteGates) -> Floats:
    """Covariance over columns of the true means of every pair of classes, unbiased: `(class, class)`.

    Of two classes the noise is independent; from the variance of each class its own noise is taken. What all columns
    share of it shifts the pattern as a whole, so that it is no part of this variance.
    """
    centred = moments.mean - moments.mean.mean(axis=0)
    noise = np.mean(variance_of_mean(moments.count, moments.m2), axis=0)
    columns = len(moments.mean)
    shared = _design_effect(gates, np.ones(columns)) / columns
    return np.asarray(centred.T @ centred / columns - np.diag(noise * (1 - shared)))


def likeness(covariance: Floats) -> float:
    """Correlation of a class with the mean of the others, from the covariances of all; NaN without a variance.

    It is the root of the share of the classes' variance that lines through the mean of the others explain, so that
    classes count by their variance and a class whose variance is lost in noise does no harm.
    """
    own = np.diag(covariance)
    product = covariance.sum(axis=1) - own
    rest = covariance.sum() - 2 * product - own
    if own.sum() <= 0 or np.any(rest <= 0):
        return float("nan")
    share = float(np.sum(np.sign(product) * product**2 / rest) / own.sum())
    return float(np.sign(share) * abs(share) ** 0.5)


def _design_effect(gates: SiteGates, weights: Floats) -> float:
    """Variance over images of a weighted sum of columns, as a multiple of what independent columns would give.

    Source: Kish, Survey Sampling (1965), section 8.2.
    """
    together, apart = 0.0, 0.0
    for group in gates.groups:
        if len(group) < 2:
            continue
        values = np.asarray(group, dtype=np.float64)
        together += float(np.var(values @ weights, ddof=1))
        apart += float(np.var(values, axis=0, ddof=1) @ weights**2)
    return together / apart if apart > 0 else 1.0
