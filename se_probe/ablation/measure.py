"""Run every image through the untouched network and through each changed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.ablation.metric import Metric, samples_of
from se_probe.ablation.outcomes import MEASURES, log_probabilities, outcomes
from se_probe.ablation.planning import SiteGroup
from se_probe.gates import GateSite, Replacement, intervene
from se_probe.gates.resuming import Resumable
from se_probe.images import Batch, Selection, batches
from se_probe.models import LoadedModel

Labels = Callable[[int], str]
# Makes `(measure, image)` of a network's output; the second returns the first for a batch and its untouched output.
Judge = Callable[[object], torch.Tensor]
Judging = Callable[[torch.Tensor, object], Judge]
# Images on which it is tried whether outcomes can be measured.
TRIED = 4


@dataclass(frozen=True)
class BatchOutcomes:
    """Outcomes of one batch.

    Attributes:
        places: the images' places in the selection.
        changed: `(intervention, measure, image)`, the measures of `outcomes.MEASURES`, or one's own alone.
        clean: `(measure, image)` of the untouched network.
        skipped: images that could not be decoded, as `path`, `class` and `reason`.
    """

    places: tuple[int, ...]
    changed: NDArray[np.float64]
    clean: NDArray[np.float64]
    skipped: list[dict[str, str]]


def measure(
    model: LoadedModel,
    sites: Sequence[GateSite],
    interventions: Sequence[SiteGroup],
    replacements: Mapping[str, Replacement],
    selection: Selection,
    *,
    metric: Metric | None = None,
    label: Labels | None = None,
    batch_size: int = 32,
    workers: int = 0,
    progress: Callable[[int], None] = lambda passes: None,
) -> Iterator[BatchOutcomes]:
    """Measure interventions on the same images, batch by batch.

    Clean and changed passes share the decoded batch and, where that is exact, the computation before the first
    changed site.

    Args:
        model: the network, on its device.
        sites: all its sites, in network order.
        interventions: groups of sites that are changed together.
        replacements: site → replacement of its gate.
        selection: the images, in order.
        metric: a measure of one's own, which stands in the place of `outcomes.MEASURES`.
        label: maps an image's place in the selection to its label, for replacements that differ by class or image.
        batch_size: images in one forward pass.
        workers: processes that decode images.
        progress: called once a pass with the number of images in it.

    Raises:
        SeProbeError: the network's output is no vector of logits, or the metric fails or returns no finite number.
    """
    network = model.network
    passes = Resumable(network, sites, model.input_size)
    distinct = list({item.site_names: item for item in interventions}.values())
    row = {item.site_names: number for number, item in enumerate(distinct)}
    order = [row[item.site_names] for item in interventions]
    for batch in batches(selection, model.transform, batch_size=batch_size, workers=workers):
        if batch.indices:
            judging = partial(_judge, selection, batch.indices, metric)
            names = None if label is None else [label(place) for place in batch.indices]
            found = _measure_batch(passes, network, batch, judging, distinct, replacements, names, progress)
        else:
            found = torch.empty(len(distinct) + 1, len(MEASURES) if metric is None else 1, 0, dtype=torch.float64)
        values = found.cpu().numpy().astype(np.float64)
        if metric is not None:
            metric.require_finite(values, values[0, 0], _paths(selection, batch.indices))
        progress(len(batch.skipped) * (len(distinct) + 1))
        yield BatchOutcomes(batch.indices, values[1:][order], values[0], _skipped(selection, batch))


def require_measurable(model: LoadedModel, selection: Selection, metric: Metric | None = None) -> None:
    """Try on the first images whether outcomes can be measured, before anything is recorded.

    Args:
        model: the network.
        selection: the images.
        metric: a measure of one's own; without it the network must return logits.

    Raises:
        SeProbeError: the network's output is no vector of logits, or the metric fails or returns no finite number.
    """
    reference = next(model.network.parameters())
    for batch in batches(selection, model.transform, batch_size=TRIED, workers=0):
        if batch.indices:
            images = batch.images.to(reference.device, reference.dtype)
            with torch.inference_mode():
                clean = model.network(images)
                values = _judge(selection, batch.indices, metric, images, clean)(clean).cpu().numpy()
            if metric is not None:
                metric.require_finite(values, values[0], _paths(selection, batch.indices))
            return


def passes_of(interventions: Sequence[SiteGroup]) -> int:
    """Return the number of forward passes per image: one untouched and one for each distinct set of sites."""
    return len({item.site_names for item in interventions}) + 1


def _measure_batch(
    passes: Resumable,
    network: torch.nn.Module,
    batch: Batch,
    judging: Judging,
    distinct: Sequence[SiteGroup],
    replacements: Mapping[str, Replacement],
    labels: list[str] | None,
    progress: Callable[[int], None],
) -> torch.Tensor:
    """Return `(1 + intervention, measure, image)`, the untouched network first, on its device."""
    reference = next(network.parameters())
    images = batch.images.to(reference.device, reference.dtype, non_blocking=True)
    with torch.inference_mode(), passes.kept():
        clean = network(images)
        judge = judging(images, clean)
        rows = [judge(clean)]
        progress(len(images))
        for item in distinct:
            chosen = {site: replacements[site.name] for site in item.sites}
            with intervene(network, chosen) as intervention, passes.resumed(item.sites):
                intervention.labels = labels
                changed = network(images)
            rows.append(judge(changed))
            progress(len(images))
    return torch.stack(rows)


def _judge(
    selection: Selection, places: Sequence[int], metric: Metric | None, images: torch.Tensor, clean: object
) -> Judge:
    """Return what makes `(measure, image)` of a changed network's output, given the untouched network's."""
    samples = samples_of(selection, places, images, clean)
    if metric is not None:
        return lambda output: metric(output, samples)[None]
    untouched = log_probabilities(clean, len(images))
    return lambda output: outcomes(log_probabilities(output, len(images)), untouched, samples.units)


def _paths(selection: Selection, places: Sequence[int]) -> list[str]:
    return [selection.entries[place].sample.path for place in places]


def _skipped(selection: Selection, batch: Batch) -> list[dict[str, str]]:
    return [
        {
            "path": item.path,
            "class": selection.entries[item.index].sample.image_class.name,
            "reason": item.reason,
        }
        for item in batch.skipped
    ]
