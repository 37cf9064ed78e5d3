"""The loss of networks with fixed gates, and the search for the largest set of sites whose loss is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class Trial:
    """A set of sites, its loss, and whether the loss is allowed."""

    sites: tuple[str, ...]
    loss: Loss
    allowed: bool


@dataclass(frozen=True)
class Search:
    """All trials in order, and the chosen set."""

    trials: tuple[Trial, ...]
    chosen: tuple[str, ...]

    @property
    def loss(self) -> Loss | None:
        """Loss of the chosen set where it was searched, None for the empty set."""
        return next((trial.loss for trial in self.trials if trial.sites == self.chosen), None)

    @property
    def least_harmful(self) -> Trial | None:
        """The trial of a single site with the lowest bound."""
        alone = [trial for trial in self.trials if len(trial.sites) == 1]
        return min(alone, key=lambda trial: trial.loss.bound, default=None)


def search(order: Sequence[str], cost: Callable[[Sequence[str]], Loss], max_loss: float) -> Search:
    """Return the largest set found whose loss is at the most `max_loss` points, by the upper limit of its interval.

    Bisection finds the longest allowed prefix of `order`, assuming that the loss grows along it. Each later site is
    then added if the whole set stays allowed, which needs no such assumption. The upper limit decides because the best
    of many sets looks better than it is. For the same reason a measured gain counts as no loss.

    Args:
        order: names of sites, the most static first.
        cost: measures the loss of a set of sites.
        max_loss: percentage points.
    """
    trials: dict[tuple[str, ...], Trial] = {}

    def allowed(sites: Sequence[str]) -> bool:
        key = tuple(sites)
        if key not in trials:
            loss = cost(key)
            trials[key] = Trial(key, loss, loss.bound <= max_loss)
        return trials[key].allowed

    known, failed = 0, len(order) + 1
    while failed - known > 1:
        # All sites first: for collapsed gates that is the answer.
        length = len(order) if failed > len(order) else (known + failed) // 2
        known, failed = (length, failed) if allowed(order[:length]) else (known, length)
    chosen = list(order[:known])
    for site in order[known:]:
        if allowed([*chosen, site]):
            chosen.append(site)
    return Search(tuple(trials.values()), tuple(chosen))
