"""Measurements behind a fold: mean gates and their spread on one half of the images, losses on both."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from se_probe.ablation.sources import mean_of_class_means
from se_probe.costs.timing import Timing, paired_timing
from se_probe.errors import SeProbeError
from se_probe.folding.search import Loss, Search, above_chance, least_limit, loss_of, search
from se_probe.folding.surgery import Folded, deviation, fold_gates
from se_probe.gates import Constant, GateSite, intervene
from se_probe.images import Batch, Selected, Selection, batches
from se_probe.images.loader import Transform
from se_probe.models import LoadedModel
from se_probe.recording import Recording, record
from se_probe.recording.memory import keep_freed_memory
from se_probe.recording.run_folder import RunFolder

PROBE_IMAGES = 4
HELD_BYTES = 2**30


def halves(selection: Selection, seed: int) -> tuple[Selection, Selection]:
    """Split a selection into two halves with the same number of images of each class, within one.

    The split depends on the seed and on the images' paths alone; of an odd class the first half has one more.

    Raises:
        SeProbeError: no class has two images.
    """
    by_class: dict[str, list[Selected]] = defaultdict(list)
    for entry in selection.entries:
        by_class[entry.sample.image_class.name].append(entry)

    def rank(entry: Selected) -> bytes:
        return hashlib.sha256(f"{seed}/half/{entry.sample.path}".encode()).digest()

    second = {entry.position for entries in by_class.values() for entry in sorted(entries, key=rank)[1::2]}
    if not second:
        raise SeProbeError(
            f"{selection.images.title} has one image of each class that was chosen; expected two or more, one half to "
            "search on and the other to confirm."
        )
    first_half, second_half = (
        tuple(entry for entry in selection.entries if (entry.position in second) is late) for late in (False, True)
    )
    return replace(selection, entries=first_half), replace(selection, entries=second_half)


class Images:
    """Images of a selection in batches on a device; decoded once if they fit into a gigabyte.

    Attributes:
        selection: the images.
        skipped: number of images that could not be decoded, known after the first pass.
    """

    def __init__(
        self,
        selection: Selection,
        transform: Transform,
        like: torch.Tensor,
        *,
        batch_size: int,
        workers: int,
    ) -> None:
        self.selection = selection
        self.skipped = 0
        self._transform, self._like = transform, like
        self._batch_size, self._workers = batch_size, workers
        self._held: list[Batch] | None = None

    def __iter__(self) -> Iterator[tuple[torch.Tensor, tuple[int, ...]]]:
        """Yield `(image, 3, H, W)` and the places of the images in the selection."""
        for batch in self._held if self._held is not None else self._read():
            if batch.indices:
                images = batch.images.to(device=self._like.device, dtype=self._like.dtype, non_blocking=True)
                yield images, batch.indices

    def first(self, images: int) -> torch.Tensor:
        """Return the first images of the first batch."""
        return next(iter(self))[0][:images]

    def units(self) -> NDArray[np.int64]:
        """Return the output unit of each decoded image's class, −1 where the network has none."""
        units = [entry.sample.image_class.index for entry in self.selection.entries]
        places = [place for _, indices in self for place in indices]
        return np.array([-1 if units[place] is None else units[place] for place in places], dtype=np.int64)

    def _read(self) -> Iterator[Batch]:
        held: list[Batch] = []
        size = 0
        self.skipped = 0
        for batch in batches(self.selection, self._transform, batch_size=self._batch_size, workers=self._workers):
            self.skipped += len(batch.skipped)
            size += batch.images.nbytes
            if size <= HELD_BYTES:
                held.append(batch)
            yield batch
        if size <= HELD_BYTES:
            self._held = held


def choices(run: Callable[[torch.Tensor], torch.Tensor], images: Images) -> NDArray[np.int64]:
    """Return the first choice of a network for each image, `(image,)`.

    Raises:
        SeProbeError: as for `confirm`.
    """
    (chosen,), _ = confirm([run], images)
    return chosen


def confirm(
    networks: Sequence[Callable[[torch.Tensor], torch.Tensor]], images: Images
) -> tuple[list[NDArray[np.int64]], float]:
    """Return the first choices of several networks in one pass over the images.

    Returns:
        `(image,)` for each network, and the largest deviation of the last network's outputs from those of the one
        before it in any batch.

    Raises:
        SeProbeError: an output is no vector of logits an image.
    """
    chosen: list[list[torch.Tensor]] = [[] for _ in networks]
    deviations: list[torch.Tensor] = []
    with torch.inference_mode():
        for batch, _ in images:
            outputs = [run(batch) for run in networks]
            deviations.append(deviation(outputs[-1], outputs[-2:][0]))
            for row, output in zip(chosen, outputs, strict=True):
                if not isinstance(output, torch.Tensor) or output.dim() != 2:
                    raise SeProbeError(
                        f"the network returns {type(output).__name__} and not one vector of logits for each image; "
                        "folding is measured by classification, pass a classifier."
                    )
                row.append(output.argmax(1))
    return [np.asarray(torch.cat(row).cpu().numpy()) for row in chosen], float(torch.stack(deviations).max())


def reference_tensor(network: nn.Module) -> torch.Tensor:
    """Return a tensor with the device and the dtype that a network's input should have."""
    parameter = next((item for item in network.parameters() if item.is_floating_point()), torch.empty(0))
    return parameter.detach()


@dataclass(frozen=True)
class LossMeasure:
    """The unit of a loss: an image is correct where the network's choice equals `target`."""

    name: str
    before: NDArray[np.int64]
    target: NDArray[np.int64]

    def loss(self, chosen: NDArray[np.int64]) -> Loss:
        """Return the loss of a network that makes these choices, `(image,)`."""
        return loss_of(self.before == self.target, chosen == self.target)


class Study:
    """The network, the two halves of the images, and the measurements on them.

    Attributes:
        first, second: the half that is searched on, and the half that confirms.
        means, spread: mean gate of each site on the first half (the mean of the class means, as in `ablate`), and its
            standard deviation over images.
        order: names of the sites, the most static first.
        possible: the network with all sites folded, known after a search.
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
    ) -> None:
        self.model, self.folder, self.provenance = model, folder, provenance
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

    def measure(self, images: Images, before: NDArray[np.int64]) -> LossMeasure:
        """Return the unit: top-1 accuracy if the network exceeds chance on these labels, else agreement."""
        units = images.units()
        classes = len(np.unique(units))
        if not self.measure_name:
            usable = bool((units >= 0).all()) and classes > 1 and above_chance(before == units, classes)
            self.measure_name = "top-1 accuracy" if usable else "agreement with the untouched network"
        return LossMeasure(self.measure_name, before, units if self.measure_name.startswith("top-1") else before)

    @keep_freed_memory()
    def search(self, max_loss: float, say: Callable[[str], None]) -> Search:
        """Search on the first half among the sites that surgery can fix; without trials where images are too few."""
        if least_limit(len(self.first.units())) > max_loss:
            return Search((), ())
        possible = self.possible = self.folded(list(self.sites))
        for item in possible.sites:
            if item.site not in possible.fixed:
                say(f"refused   {item.site}: {item.reason}")
        measure = self.measure(self.first, choices(self.network, self.first))
        say(f"measure   {measure.name}, {100 * np.mean(measure.before == measure.target):.2f} % on the search half")

        def cost(names: Sequence[str]) -> Loss:
            with self.intervened(names):
                loss = measure.loss(choices(self.network, self.first))
            say(f"tried     {len(names)} sites, up to {names[-1]}: {loss}")
            return loss

        return search([name for name in self.order if name in possible.fixed], cost, max_loss)

    def folded(self, names: Sequence[str]) -> Folded:
        """Fold sites, the constants being the mean gates of the first half."""
        return fold_gates(self.network, self.constants(names), self.first.first(PROBE_IMAGES))

    @keep_freed_memory()
    def confirm(self, folded: Folded) -> tuple[Loss, float]:
        """Return the loss on the second half, and the largest deviation from the intervened network there."""

        def intervened(batch: torch.Tensor) -> torch.Tensor:
            with self.intervened(folded.fixed):
                output: torch.Tensor = self.network(batch)
            return output

        (before, _, after), worst = confirm([self.network, intervened, folded.network], self.second)
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
