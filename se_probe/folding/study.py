"""Measurements behind a fold: mean gates and their spread on one half of the images, losses on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.ablation.metric import Metric
from se_probe.ablation.planning import mean_of_class_means
from se_probe.costs.timing import Timing, paired_timing
from se_probe.folding.evaluation import Images, confirm, first_choice, reference_tensor, scores
from se_probe.folding.loss import FEWEST_MEASURED, Loss, above_chance, least_limit, loss_of, metric_loss
from se_probe.folding.search import Search, search
from se_probe.folding.surgery import Folded, fold_gates
from se_probe.gates import Constant, GateSite, intervene
from se_probe.images import Selection
from se_probe.models import LoadedModel
from se_probe.recording import Recording, record
from se_probe.recording.memory import keep_freed_memory
from se_probe.recording.run_folder import RunFolder

PROBE_IMAGES = 4


@dataclass(frozen=True)
class LossMeasure:
    """The unit of a loss: an image is correct where the network's choice equals `target`."""

    name: str
    before: NDArray[np.int64]
    target: NDArray[np.int64]

    @property
    def level(self) -> str:
        """What the untouched network has, in words."""
        return f"{100 * np.mean(self.before == self.target):.2f} %"

    def loss(self, chosen: NDArray[np.int64]) -> Loss:
        """Return the loss of a network that makes these choices, `(image,)`."""
        return loss_of(self.before == self.target, chosen == self.target)


@dataclass(frozen=True)
class MetricMeasure:
    """The unit of a loss by one's own measure."""

    metric: Metric
    before: NDArray[np.float64]

    @property
    def name(self) -> str:
        """Name of the measure."""
        return self.metric.name

    @property
    def level(self) -> str:
        """What the untouched network has, in words."""
        return f"{np.nanmean(self.before):.4g} {self.metric.unit}".rstrip()

    def loss(self, after: NDArray[np.float64]) -> Loss:
        """Return the loss of a network that has these numbers, `(image,)`."""
        return metric_loss(self.metric, self.before, after)


class Study:
    """The network, the two halves of the images, and the measurements on them.

    Attributes:
        first, second: the half that is searched on, and the half that confirms.
        means, spread: mean gate of each site on the first half (the mean of the class means, as in `ablate`), and its
            standard deviation over images.
        order: names of the sites, the most static first.
        possible: the network with all sites folded, known after a search.
        metric: a measure of one's own in the place of the first choice.
        measure_name: the unit of losses, known after the first measurement.
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
        self.recording = self._record(device, batch_size, workers, progress)
        self.means, self.spread = mean_of_class_means(self.recording), gate_spread(self.recording)
        self.order = sorted(self.sites, key=lambda site: self.spread[site])
        self.measure_name = ""
        self.possible: Folded | None = None

    def _record(self, device: str, batch_size: int, workers: int, progress: Callable[[int], None]) -> Recording:
        """Record the moments of the first half; no single gates are kept."""
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

    def intervened(self, names: Sequence[str]) -> AbstractContextManager[Any]:
        """Replace the network's gates by their means for a `with` block."""
        return intervene(self.network, {site: Constant(values) for site, values in self.constants(names).items()})

    @property
    def shows_nothing(self) -> bool:
        """Whether too few images of the first half could be decoded to know how one's own measure varies."""
        return len(self.first.units()) < FEWEST_MEASURED

    def _with_means(self, names: Sequence[str]) -> Callable[[torch.Tensor], Any]:
        """Return the network with the gates of some sites replaced by their means."""

        def run(batch: torch.Tensor) -> Any:
            with self.intervened(names):
                return self.network(batch)

        return run

    def measure(self, images: Images, before: NDArray[Any]) -> LossMeasure | MetricMeasure:
        """Return the unit: one's own measure, top-1 accuracy where it exceeds chance, else agreement."""
        if self.metric is not None:
            self.measure_name = self.metric.name
            return MetricMeasure(self.metric, before)
        units = images.units()
        classes = len(np.unique(units))
        if not self.measure_name:
            usable = bool((units >= 0).all()) and classes > 1 and above_chance(before == units, classes)
            self.measure_name = "top-1 accuracy" if usable else "agreement with the untouched network"
        return LossMeasure(self.measure_name, before, units if self.measure_name.startswith("top-1") else before)

    @keep_freed_memory()
    def search(self, max_loss: float, say: Callable[[str], None]) -> Search:
        """Search on the first half among the sites that surgery can fix; without trials where images are too few."""
        if self.shows_nothing if self.metric else least_limit(len(self.first.units())) > max_loss:
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
            # The first choice does not ask for the output of the untouched network.
            *_, after = scores([self.network, changed] if self.metric else [changed], self.first, score)
            loss = measure.loss(after)
            say(f"tried     {len(names)} sites, up to {names[-1]}: {loss}")
            return loss

        return search([name for name in self.order if name in possible.fixed], cost, max_loss)

    def folded(self, names: Sequence[str]) -> Folded:
        """Fold sites, the constants being the mean gates of the first half."""
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
