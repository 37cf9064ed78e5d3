"""Finds the largest set of sites whose gates may be fixed: along the order of staticness, then one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from se_probe.folding.loss import Loss


@dataclass(frozen=True)
class Trial:
    """A set of sites that was tried, what it costs, and whether that is within the allowed loss."""

    sites: tuple[str, ...]
    loss: Loss
    allowed: bool


@dataclass(frozen=True)
class Search:
    """All trials in the order in which they were made, and the set that was chosen."""

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

    The longest prefix of `order` that is allowed is found by bisection, which takes for granted that loss grows along
    it; then each later site is added where the whole set stays allowed, which does not. The upper limit decides, since
    the best of many sets looks better than it is; for the same reason a measured gain counts as no loss, and makes no
    room for sites that lose.

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
        # The whole is tried first: where gates have collapsed it is the answer.
        length = len(order) if failed > len(order) else (known + failed) // 2
        known, failed = (length, failed) if allowed(order[:length]) else (known, length)
    chosen = list(order[:known])
    for site in order[known:]:
        if allowed([*chosen, site]):
            chosen.append(site)
    return Search(tuple(trials.values()), tuple(chosen))
