"""Loss of a network with fixed gates: the share of images that it no longer classifies correctly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis.stats.intervals import CONFIDENCE
from se_probe.analysis.stats.paired import Strata, flip_interval

CHANCE = 0.01


@dataclass(frozen=True)
class Loss:
    """The loss of a changed network against the untouched one, on the same images, in percentage points.

    Attributes:
        images: how many images.
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

    def __str__(self) -> str:
        return f"{self.points:.2f} points [{self.low:.2f}, {self.high:.2f}]"


def loss_of(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Loss:
    """Return the loss from the correctness of two networks, `(image,)` each."""
    lost, won, images = int((before & ~after).sum()), int((~before & after).sum()), len(before)
    interval = flip_interval(Strata(((before.astype(np.float64) - after)[:, None],), "image"))
    low, high = 100 * float(interval.low[0]), 100 * float(interval.high[0])
    return Loss(images, 100 * float(before.mean()), 100 * float(after.mean()), lost, won, low, high)


def above_chance(right: NDArray[np.bool_], classes: int) -> bool:
    """Return whether accuracy exceeds chance among `classes` (binomial test, p < 0.01).

    Below that there is no accuracy to lose: the network is untrained, or the labels are not those of its units.
    """
    test = stats.binomtest(int(right.sum()), len(right), 1 / classes, alternative="greater")
    return bool(test.pvalue < CHANCE)


def least_limit(images: int) -> float:
    """Return the upper limit of the loss, in points, if no image changes between correct and wrong."""
    same = np.ones(images, dtype=np.bool_)
    return loss_of(same, same).high


def images_for(points: float) -> int:
    """Return how many images bring the upper limit of no loss at all down to `points` percentage points.

    Source: Bonett and Price (2012) where nothing flips: z √2 / (images + 2).
    """
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    return math.ceil(100 * z * math.sqrt(2) / points - 2)
