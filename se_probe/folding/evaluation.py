"""Scores of networks on the images of a selection, which is split into two halves, and losses between networks."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from se_probe.ablation.metric import Metric, Samples, samples_of
from se_probe.analysis.stats.intervals import CONFIDENCE
from se_probe.analysis.stats.paired import Strata, flip_interval, paired_interval
from se_probe.errors import SeProbeError
from se_probe.folding.surgery import deviation
from se_probe.images import Batch, Selected, Selection, batches
from se_probe.images.loader import Transform

KEPT_BYTES = 2**30
Run = Callable[[torch.Tensor], Any]
Score = Callable[[object, Samples], torch.Tensor]


def halves(selection: Selection, seed: int) -> tuple[Selection, Selection]:
    """Split a selection into two halves, class by class; the first half has the odd image of a class.

    The split of a class depends on the seed and on the images' paths only. Raise SeProbeError if no class has two
    images.
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

    Raise SeProbeError if an output has no score.

    Args:
        networks: the networks; the untouched one first, if the score needs its output.
        score: maps an output to a number for each image: `first_choice` or a metric.
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
    """Return the scores of several networks, and the largest deviation of the last one from the one before."""
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


CHANCE = 0.01
# Fewest images on which the spread of a metric is estimated.
FEWEST_MEASURED = 20


@dataclass(frozen=True)
class Loss:
    """The loss of a changed network against the untouched one, on the same images, in percentage points."""

    images: int  # number of images
    before: float  # top-1 accuracy of the untouched network in per cent; 100 where agreement is counted
    after: float  # top-1 accuracy of the changed network in per cent, or its agreement with the untouched one
    lost: int  # images that only the untouched network gets right
    won: int  # images that only the changed network gets right
    # low, high: 95 % interval of the loss (`flip_interval`, images as units).
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
    """The loss by a metric: `before` and `after` are means, `lost` and `won` count worse and better images."""

    value: float  # the loss, in the metric's unit
    measured_in: str  # that unit, "" for none

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
    """Return the loss by a metric, with the interval of `paired_interval`, images as units; NaN is not counted."""
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
