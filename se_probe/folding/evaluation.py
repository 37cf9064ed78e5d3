"""Scores of networks on the images of a selection, which is split into two halves by class."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.ablation.metric import Metric, Samples, samples_of
from se_probe.errors import SeProbeError
from se_probe.folding.surgery import deviation
from se_probe.images import Batch, Selected, Selection, batches
from se_probe.images.loader import Transform

KEPT_BYTES = 2**30
Run = Callable[[torch.Tensor], Any]
Score = Callable[[object, Samples], torch.Tensor]


def halves(selection: Selection, seed: int) -> tuple[Selection, Selection]:
    """Split a selection into two halves, class by class; the first half has the odd image of a class.

    The split of a class depends on the seed and on the images' paths only.

    Raises:
        SeProbeError: no class has two images.
    """
    by_class: dict[str, list[Selected]] = defaultdict(list)
    for entry in selection.entries:
        by_class[entry.sample.image_class.name].append(entry)

    def rank(entry: Selected) -> bytes:
        return hashlib.sha256(f"{seed}/half/{entry.sample.path}".encode()).digest()

    positions = {entry.position for entries in by_class.values() for entry in sorted(entries, key=rank)[1::2]}
    if not positions:
        raise SeProbeError(
            f"{selection.images.title} has one image of each class that was chosen; expected two or more, one half to "
            "search on and the other to confirm."
        )
    first = tuple(entry for entry in selection.entries if entry.position not in positions)
    second = tuple(entry for entry in selection.entries if entry.position in positions)
    return replace(selection, entries=first), replace(selection, entries=second)


class Images:
    """Images of a selection in batches on a device; decoded once if they fit into a gigabyte.

    Attributes:
        selection: the images.
        skipped: number of images that could not be decoded, known after the first pass.
    """

    def __init__(
        self, selection: Selection, transform: Transform, like: torch.Tensor, *, batch_size: int, workers: int
    ) -> None:
        self.selection = selection
        self.skipped = 0
        self._transform, self._like = transform, like
        self._batch_size, self._workers = batch_size, workers
        self._decoded: list[Batch] | None = None

    def __iter__(self) -> Iterator[tuple[torch.Tensor, tuple[int, ...]]]:
        """Yield `(image, 3, H, W)` and the positions of the images in the selection."""
        for batch in self._decoded if self._decoded is not None else self._read():
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
        decoded: list[Batch] = []
        size = 0
        self.skipped = 0
        for batch in batches(self.selection, self._transform, batch_size=self._batch_size, workers=self._workers):
            self.skipped += len(batch.skipped)
            size += batch.images.nbytes
            if size <= KEPT_BYTES:
                decoded.append(batch)
            yield batch
        if size <= KEPT_BYTES:
            self._decoded = decoded


def scores(
    networks: Sequence[Run], images: Images, score: Score, watch: Callable[[list[Any]], None] = lambda outputs: None
) -> list[NDArray[Any]]:
    """Return the scores of several networks in one pass over the images, `(image,)` for each.

    Args:
        networks: the networks; the untouched one first, if the score needs its output.
        images: the images.
        score: maps an output to a number for each image: `first_choice` or a metric.
        watch: called with the outputs of every batch.

    Raises:
        SeProbeError: an output has no score.
    """
    rows: list[list[torch.Tensor]] = [[] for _ in networks]
    paths: list[str] = []
    with torch.inference_mode():
        for batch, places in images:
            outputs = [run(batch) for run in networks]
            samples = samples_of(images.selection, places, batch, outputs[0])
            watch(outputs)
            paths += samples.paths
            for row, output in zip(rows, outputs, strict=True):
                row.append(score(output, samples))
    values = [np.asarray(torch.cat(row).cpu().numpy()) for row in rows]
    if isinstance(score, Metric):
        score.require_finite(np.stack(values), values[0], paths)
    return values


def confirm(networks: Sequence[Run], images: Images, score: Score | None = None) -> tuple[list[NDArray[Any]], float]:
    """Return the scores of several networks, and the largest deviation of the last one's outputs from the one before.

    Args:
        networks: as for `scores`.
        images: the images.
        score: as for `scores`; the first choice by default.
    """
    deviations: list[torch.Tensor] = []

    def watch(outputs: list[Any]) -> None:
        deviations.append(deviation(outputs[-1], outputs[-2]))

    found = scores(networks, images, score or first_choice, watch)
    return found, float(torch.stack(deviations).max())


def first_choice(output: object, samples: Samples | None = None) -> torch.Tensor:
    """Return the unit with the largest logit, `(image,)`; raise SeProbeError if the output is not logits."""
    if not isinstance(output, torch.Tensor) or output.dim() != 2:
        raise SeProbeError(
            f"the network returns {type(output).__name__} and not one vector of logits for each image; give a measure "
            "of your own with --metric."
        )
    return output.argmax(1)
