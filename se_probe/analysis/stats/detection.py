"""Detection of changed images: a distance to class moments, and the area under the curve of a paired score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from se_probe.analysis.stats.intervals import NORMAL, Interval, student
from se_probe.analysis.stats.moments import Floats, Moments

ROUNDING = 1e-5
"""Smallest standard deviation within classes, as a share of the root mean square of all values: less is the rounding of
float32, in which gates are recorded."""


def left_out_distances(
    values: NDArray[np.floating], plain: NDArray[np.floating], labels: NDArray[np.int64], moments: Moments
) -> Floats:
    """Squared distance of every image to the nearest class, in standard deviations within classes, `(image,)`.

    The distance is Mahalanobis's with a diagonal covariance that all classes share, the pooled variance within classes.
    The image itself is left out of the moments, which would otherwise favour plain images. A class without other images
    is left out for that image.

    Args:
        values: values of the images, plain or changed, `(image, column)`.
        plain: their values in the moments, `(image, column)`.
        labels: class of each, its index in the moments.
        moments: of all classes, these images included, `(column, class)`.

    Source: Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks,
    NeurIPS 2018, section 2.1, with the diagonal of its covariance, which class moments give.
    """
    centre = moments.mean.mean(axis=-1)
    mean = moments.mean.T - centre
    points, own = (np.asarray(item, dtype=np.float64) - centre for item in (values, plain))
    count = moments.count.astype(np.float64)
    of_own = count[labels][:, None]
    others = np.maximum(of_own - 1, 1)
    deviation = own - mean[labels]
    m2 = moments.m2.sum(axis=-1) - np.where(of_own > 1, of_own / others, 0.0) * deviation**2
    freedom = np.sum(np.maximum(count - 1, 0)) - (of_own > 1)
    level = np.mean(np.square(moments.mean))
    variance = np.maximum(m2 / np.maximum(freedom, 1), ROUNDING**2 * level + np.finfo(np.float64).tiny)
    weight = 1 / variance
    distances = (
        np.sum(weight * points**2, axis=1)[:, None] - 2 * (weight * points) @ mean.T + weight @ np.square(mean).T
    )
    without = mean[labels] - deviation / others
    nearest = np.where(of_own[:, 0] > 1, np.sum(weight * (points - without) ** 2, axis=1), np.inf)
    distances[np.arange(len(labels)), labels] = nearest
    distances[:, count == 0] = np.inf
    return np.asarray(np.min(distances, axis=1))


@dataclass(frozen=True)
class Curve:
    """Areas under the curve of several scores of the same images, plain and changed.

    Attributes:
        area: probability that a changed image has a higher score than another plain one, ties counting half,
            `(score,)`.
        influence: what each image, plain and changed, adds to an area's deviation, `(image, score)`.
    """

    area: Floats
    influence: Floats

    def interval(self) -> Interval:
        """Limits for another draw of images: normal on the logit scale, Wilson's where an area is 0 or 1."""
        images = len(self.influence)
        reach = student(images - 1)
        error = np.std(self.influence, axis=0, ddof=1) / np.sqrt(images)
        inner = (self.area > 0) & (self.area < 1) & (error > 0)
        safe = np.where(inner, self.area, 0.5)
        logit, step = np.log(safe / (1 - safe)), reach * error / (safe * (1 - safe))
        slack = NORMAL**2 / (images + NORMAL**2)
        low = np.where(inner, 1 / (1 + np.exp(step - logit)), np.where(self.area >= 1, 1 - slack, 0.0))
        high = np.where(inner, 1 / (1 + np.exp(-step - logit)), np.where(self.area <= 0, slack, 1.0))
        known = np.isfinite(self.area)
        return Interval(self.area, np.where(known, low, np.nan), np.where(known, high, np.nan))

    def difference(self, first: int, other: int) -> tuple[float, float, float]:
        """Return the area of one score minus that of another, with its limits for another draw of images."""
        images = len(self.influence)
        apart = float(self.area[first] - self.area[other])
        spread = np.std(self.influence[:, first] - self.influence[:, other], ddof=1) / np.sqrt(images)
        reach = student(images - 1) * float(spread)
        return apart, apart - reach, apart + reach


def paired_curve(plain: Floats, changed: Floats) -> Curve:
    """Return the areas under the curve for detecting changed images by scores `(image, score)`.

    Row i of both is the same image, which is one unit because its two scores depend on each other. A changed image is
    compared with all plain images except its own. NaN for a score with any NaN.

    Source: DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver operating
    characteristic curves, Biometrics 44 (1988); with one case and one control a unit, Obuchowski, Nonparametric
    analysis of clustered ROC curve data, Biometrics 53 (1997).
    """
    images, columns = plain.shape
    area, influence = np.full(columns, np.nan), np.full((images, columns), np.nan)
    for column in range(columns):
        before, after = plain[:, column], changed[:, column]
        if images < 2 or not (np.isfinite(before).all() and np.isfinite(after).all()):
            continue
        own = (after > before) + 0.5 * (after == before)
        higher = (_below(before, after) - own) / (images - 1)
        lower = (images - _below(after, before) - own) / (images - 1)
        area[column] = higher.mean()
        influence[:, column] = higher + lower - 2 * area[column]
    return Curve(area, influence)


def _below(values: Floats, limits: Floats) -> Floats:
    """Number of `values` below each limit, those equal to it counting half."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, limits, "left") + np.searchsorted(ordered, limits, "right")) / 2
