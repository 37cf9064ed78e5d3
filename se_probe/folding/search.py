"""Search for the largest set of sites whose gates may be fixed: by bisection along an order, then site by site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from se_probe.folding.loss import Loss


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
