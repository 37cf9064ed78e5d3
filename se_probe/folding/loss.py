"""Loss of a network with fixed gates: in classification accuracy, or by a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from se_probe.ablation.metric import Metric
from se_probe.analysis.stats.intervals import CONFIDENCE
from se_probe.analysis.stats.paired import Strata, flip_interval, paired_interval

CHANCE = 0.01
# Fewest images on which the spread of a metric is estimated.
FEWEST_MEASURED = 20


@dataclass(frozen=True)
class Loss:
    """The loss of a changed network against the untouched one, on the same images, in percentage points.

    Attributes:
        images: number of images.
        before: top-1 accuracy of the untouched network in per cent; 100 where agreement is counted.
        after: top-1 accuracy of the changed network in per cent, or its agreement with the untouched one.
        lost: images that only the untouched network gets right.
        won: images that only the changed network gets right.
        low, high: 95 % interval of the loss (`flip_interval`, images as units).
    """

    images: int
    before: float
    after: float
    lost: int
    won: int
    low: float
    high: float

    @property
    def points(self) -> float:
        """The loss."""
        return 100 * (self.lost - self.won) / self.images

    @property
    def bound(self) -> float:
        """Upper limit of the interval, with a measured gain counted as no loss."""
        return self.high - min(self.points, 0.0)

    def shown(self, value: float) -> str:
        """Format a loss without its unit."""
        return f"{value:.2f}"

    @property
    def unit(self) -> str:
        """The unit of the loss."""
        return "points"

    def __str__(self) -> str:
        amount = f"{self.shown(self.points)} {self.unit}".rstrip()
        return f"{amount} [{self.shown(self.low)}, {self.shown(self.high)}]"


@dataclass(frozen=True)
class MetricLoss(Loss):
    """The loss by a metric: `before` and `after` are means, `lost` and `won` count worse and better images.

    Attributes:
        value: the loss, in the metric's unit.
        measured_in: that unit, "" for none.
    """

    value: float
    measured_in: str

    @property
    def points(self) -> float:
        """The loss."""
        return self.value

    def shown(self, value: float) -> str:
        """Format a loss without its unit."""
        return f"{value:.3g}"

    @property
    def unit(self) -> str:
        """The unit of the loss."""
        return self.measured_in


def loss_of(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Loss:
    """Return the loss from the correctness of two networks, `(image,)` each."""
    lost, won, images = int((before & ~after).sum()), int((~before & after).sum()), len(before)
    interval = flip_interval(Strata(((before.astype(np.float64) - after)[:, None],), "image"))
    low, high = 100 * float(interval.low[0]), 100 * float(interval.high[0])
    return Loss(images, 100 * float(before.mean()), 100 * float(after.mean()), lost, won, low, high)


def metric_loss(metric: Metric, before: NDArray[np.float64], after: NDArray[np.float64]) -> MetricLoss:
    """Return the loss by a metric, with the interval of `paired_interval`, images as units; NaN is not counted.

    Args:
        metric: the metric.
        before: its numbers for the untouched network, `(image,)`.
        after: its numbers for the changed network, `(image,)`.
    """
    known = ~np.isnan(before)
    losses = ((after - before) if metric.lower_is_better else (before - after))[known]
    interval = paired_interval(Strata((losses[:, None],), "image"))
    return MetricLoss(
        images=int(known.sum()),
        before=float(before[known].mean()),
        after=float(after[known].mean()),
        lost=int((losses > 0).sum()),
        won=int((losses < 0).sum()),
        low=float(interval.low[0]),
        high=float(interval.high[0]),
        value=float(losses.mean()),
        measured_in=metric.unit,
    )


def above_chance(right: NDArray[np.bool_], classes: int) -> bool:
    """Return whether accuracy exceeds chance among `classes` (binomial test, p < 0.01).

    Otherwise there is no accuracy to lose: the network is untrained, or its units have other labels.
    """
    test = stats.binomtest(int(right.sum()), len(right), 1 / classes, alternative="greater")
    return bool(test.pvalue < CHANCE)


def least_limit(images: int) -> float:
    """Return the upper limit of the loss, in points, if no image flips between correct and wrong."""
    same = np.ones(images, dtype=np.bool_)
    return loss_of(same, same).high


def images_for(points: float) -> int:
    """Return the number of images for which the upper limit of a loss of zero is `points` percentage points.

    Source: Bonett and Price (2012) where nothing flips: z √2 / (images + 2).
    """
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    return math.ceil(100 * z * math.sqrt(2) / points - 2)
