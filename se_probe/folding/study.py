"""Which gates may be fixed: mean gates and their spread on one half of the images, a search there, losses on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.ablation.metric import Metric
from se_probe.ablation.planning import mean_of_class_means
from se_probe.costs.timing import Timing, paired_timing
from se_probe.folding.evaluation import (
    FEWEST_MEASURED,
    Images,
    Loss,
    above_chance,
    confirm,
    first_choice,
    least_limit,
    loss_of,
    metric_loss,
    scores,
)
from se_probe.folding.surgery import Folded, fold_gates
from se_probe.gates import Constant, GateSite, intervene
from se_probe.images import Selection
from se_probe.models import LoadedModel
from se_probe.recording import Recording, record
from se_probe.recording.memory import keep_freed_memory
from se_probe.recording.run_folder import RunFolder
from se_probe.trace.dry_pass import reference_tensor

PROBE_IMAGES = 4


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
        """Loss of the chosen set if it was tried, None for the empty set."""
        return next((trial.loss for trial in self.trials if trial.sites == self.chosen), None)

    @property
    def least_harmful(self) -> Trial | None:
        """The trial of a single site with the lowest bound."""
        alone = [trial for trial in self.trials if len(trial.sites) == 1]
        return min(alone, key=lambda trial: trial.loss.bound, default=None)


def search(order: Sequence[str], cost: Callable[[Sequence[str]], Loss], max_loss: float) -> Search:
    """Return the largest set found whose loss is at most `max_loss` points, by the upper limit of its interval.

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

    longest, failed = 0, len(order) + 1
    while failed - longest > 1:
        # All sites first: for collapsed gates that is the answer.
        length = len(order) if failed > len(order) else (longest + failed) // 2
        longest, failed = (length, failed) if allowed(order[:length]) else (longest, length)
    chosen = list(order[:longest])
    for site in order[longest:]:
        if allowed([*chosen, site]):
            chosen.append(site)
    return Search(tuple(trials.values()), tuple(chosen))


@dataclass(frozen=True)
class LossMeasure:
    """What is lost: its name, the untouched network's level in words, and the loss from a changed network's scores."""

    name: str
    level: str
    loss: Callable[[NDArray[Any]], Loss]


class Study:
    """The network, the two halves of the images, and the measurements on them.

    Attributes:
        first, second: the half that is searched on, and the half that confirms.
        means, spread: mean gate of each site on the first half (the mean of the class means, as in `ablate`), and its
            standard deviation over images.
        order: names of the sites, the most static first.
        possible: the network with all sites folded, known after a search.
        metric: replaces classification accuracy.
        measure_name: what is lost, known after the first measurement.
    """

    def __init__(
        self,
        model: LoadedModel,
        sites: Sequence[GateSite],
        halves_of_images: tuple[Selection, Selection],
        folder: RunFolder,
        provenance: dict[str, Any],
        *,
        device: str,
        batch_size: int,
        workers: int,
        progress: Callable[[int], None],
        metric: Metric | None = None,
    ) -> None:
        self.model, self.folder, self.provenance, self.metric = model, folder, provenance, metric
        self.network = model.network.to(device)
        self.sites = {site.name: site for site in sites}
        like = reference_tensor(self.network)
        self.first, self.second = (
            Images(part, model.transform, like, batch_size=batch_size, workers=workers) for part in halves_of_images
        )
        recording = self._record(device, batch_size, workers, progress)
        self.means, self.spread = mean_of_class_means(recording), gate_spread(recording)
        self.order = sorted(self.sites, key=lambda site: self.spread[site])
        self.measure_name = ""
        self.possible: Folded | None = None

    def _record(self, device: str, batch_size: int, workers: int, progress: Callable[[int], None]) -> Recording:
        """Record the moments of the first half, without the gates of single images."""
        selection = self.first.selection
        entries = tuple(replace(entry, role="reference") for entry in selection.entries)
        return record(
            self.model,
            list(self.sites.values()),
            replace(selection, entries=entries, chosen=()),
            self.folder.recording,
            provenance=self.provenance,
            batch_size=batch_size,
            workers=workers,
            device=device,
            progress=progress,
        )

    def constants(self, names: Sequence[str]) -> dict[GateSite, NDArray[np.float64]]:
        """Return the mean gates of the first half."""
        return {self.sites[name]: self.means[name] for name in names}

    def _with_means(self, names: Sequence[str]) -> Callable[[torch.Tensor], Any]:
        """Return the network with the gates of some sites replaced by their means."""
        constants = {site: Constant(values) for site, values in self.constants(names).items()}

        def run(batch: torch.Tensor) -> Any:
            with intervene(self.network, constants):
                return self.network(batch)

        return run

    def measure(self, images: Images, before: NDArray[Any]) -> LossMeasure:
        """Return what is lost: the metric, top-1 accuracy if it exceeds chance, else agreement."""
        if self.metric is not None:
            self.measure_name = self.metric.name
            level = f"{np.nanmean(before):.4g} {self.metric.unit}".rstrip()
            return LossMeasure(self.measure_name, level, partial(metric_loss, self.metric, before))
        units = images.units()
        classes = len(np.unique(units))
        if not self.measure_name:
            usable = bool((units >= 0).all()) and classes > 1 and above_chance(before == units, classes)
            self.measure_name = "top-1 accuracy" if usable else "agreement with the untouched network"
        target = units if self.measure_name.startswith("top-1") else before
        right = before == target
        return LossMeasure(
            self.measure_name, f"{100 * np.mean(right):.2f} %", lambda choices: loss_of(right, choices == target)
        )

    @keep_freed_memory()
    def search(self, max_loss: float, say: Callable[[str], None]) -> Search:
        """Search on the first half among the sites that can be folded; there are no trials if images are too few."""
        images = len(self.first.units())
        if images < FEWEST_MEASURED if self.metric else least_limit(images) > max_loss:
            return Search((), ())
        possible = self.possible = self.folded(list(self.sites))
        for item in possible.sites:
            if item.site not in possible.fixed:
                say(f"refused   {item.site}: {item.reason}")
        score = self.metric or first_choice
        (before,) = scores([self.network], self.first, score)
        measure = self.measure(self.first, before)
        say(f"measure   {measure.name}, {measure.level} on the search half")

        def cost(names: Sequence[str]) -> Loss:
            changed = self._with_means(names)
            # The first choice does not need the output of the untouched network.
            *_, after = scores([self.network, changed] if self.metric else [changed], self.first, score)
            loss = measure.loss(after)
            say(f"tried     {len(names)} sites, up to {names[-1]}: {loss}")
            return loss

        return search([name for name in self.order if name in possible.fixed], cost, max_loss)

    def folded(self, names: Sequence[str]) -> Folded:
        """Fold sites, with the mean gates of the first half as constants."""
        return fold_gates(self.network, self.constants(names), self.first.first(PROBE_IMAGES))

    @keep_freed_memory()
    def confirm(self, folded: Folded) -> tuple[Loss, float]:
        """Return the loss on the second half, and the largest deviation from the intervened network there."""
        networks: list[Callable[[torch.Tensor], Any]] = [self.network, self._with_means(folded.fixed), folded.network]
        (before, _, after), worst = confirm(networks, self.second, self.metric)
        return self.measure(self.second, before).loss(after), worst

    def timing(self, folded: Folded) -> Timing:
        """Time the untouched and the folded network on a batch of the second half."""
        return paired_timing(self.network, folded.network, next(iter(self.second))[0])


def gate_spread(recording: Recording) -> dict[str, float]:
    """Return the standard deviation of each site's gates over all images, root mean square over channels."""
    spread = {}
    for site in recording.sites:
        moments = recording.moments(site.name)
        count = moments["count"]
        grand = moments["mean"].weighted(count).mean("class")
        squares = (moments["m2"] + count * (moments["mean"] - grand) ** 2).sum("class")
        spread[site.name] = float(np.sqrt((squares / max(int(count.sum()) - 1, 1)).mean()))
    return spread
