"""Intervals of proportions over images of classes with equal weights, also where events are rare.

A bootstrap of few events is degenerate: where none of n images flips, neither does any in a resample, and the interval
is [0, 0] however small n is.
"""

import numpy as np
from scipy import stats

from se_probe.analysis.stats.intervals import CONFIDENCE, Interval
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import Strata


def flip_interval(flips: Strata, *, confidence: float = CONFIDENCE) -> Interval:
    """Difference of two paired proportions, from −1, 0 or 1 for each image, of every column: adjusted Wald interval.

    `flips.mean` is the estimate. The limits are those of Bonett and Price: one image of each flip, −1 and 1, is added,
    spread evenly over the K groups, and their variances within groups are summed; with one group the interval is
    exactly theirs. It has a width also where no image flips, so that its middle lies a little nearer to 0 than
    the estimate. Limits are cut at −1 and 1, and NaN where a group of several has a single image.

    In simulation a nominal 95 % covers 95 to 100 % for one class of 10 to 50 images and 0.2 to 10 % of flips, where
    the bootstrap covers as little as 2 %, and 94 to 100 % over 500 to 2,500 images; see `docs/interventions.md`.

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
        # Unbiased within groups, as far as there are several: each has a mean of its own.
        variance += (falls + rises - (rises - falls) ** 2) / (images - (1 - added)) / count**2
    reach = _normal(confidence) * np.sqrt(variance)
    if count > 1 and min(len(group) for group in flips.groups) < 2:
        reach = np.full_like(reach, np.nan)
    return Interval(flips.mean, np.maximum(middle - reach, -1.0), np.minimum(middle + reach, 1.0))


def share_interval(hits: Strata, *, confidence: float = CONFIDENCE) -> Interval:
    """Mean over groups of the share of images that are 1 and not 0, of every column, with Wilson's score interval.

    n is the number of images of one sample whose mean has the same variance, K² / Σ 1/n_c: all of them where groups
    are even. That the shares of groups differ is not used, which makes the interval a little too long.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927); for the
    effective number Kish, Survey Sampling (1965), section 11.7.
    """
    images = len(hits.groups) ** 2 / sum(1 / len(group) for group in hits.groups)
    share, z = hits.mean, _normal(confidence)
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    reach = z * np.sqrt(share * (1 - share) / images + z**2 / (4 * images**2)) / (1 + z**2 / images)
    return Interval(share, _within_unit(middle - reach), _within_unit(middle + reach))


def _normal(confidence: float) -> float:
    return float(stats.norm.ppf((1 + confidence) / 2))


def _within_unit(limits: Floats) -> Floats:
    """Limits that rounding has put beside 0 or 1."""
    return np.asarray(np.clip(limits, 0.0, 1.0))
