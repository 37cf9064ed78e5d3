"""Run every image through the untouched network and through each changed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.ablation.outcomes import log_probabilities, outcomes
from se_probe.ablation.planning import SiteGroup
from se_probe.gates import GateSite, Replacement, intervene
from se_probe.gates.resuming import Resumable
from se_probe.images import Batch, Selection, batches
from se_probe.models import LoadedModel

Labels = Callable[[int], str]


@dataclass(frozen=True)
class BatchOutcomes:
    """Outcomes of one batch.

    Attributes:
        places: the images' places in the selection.
        changed: `(intervention, measure, image)`, the measures of `outcomes.MEASURES`.
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
        label: maps an image's place in the selection to its label, for replacements that differ by class or image.
        batch_size: images in one forward pass.
        workers: processes that decode images.
        progress: called once a pass with the number of images in it.

    Raises:
        SeProbeError: the network's output is no vector of logits.
    """
    network = model.network
    passes = Resumable(network, sites, model.input_size)
    distinct = list({item.site_names: item for item in interventions}.values())
    row = {item.site_names: number for number, item in enumerate(distinct)}
    order = [row[item.site_names] for item in interventions]
    for batch in batches(selection, model.transform, batch_size=batch_size, workers=workers):
        if batch.indices:
            units = [_unit(selection, place) for place in batch.indices]
            found = _measure_batch(passes, network, batch, units, distinct, replacements, label, progress)
        else:
            found = torch.empty(len(distinct) + 1, 5, 0, dtype=torch.float64)
        values = found.cpu().numpy().astype(np.float64)
        progress(len(batch.skipped) * (len(distinct) + 1))
        yield BatchOutcomes(batch.indices, values[1:][order], values[0], _skipped(selection, batch))


def passes_of(interventions: Sequence[SiteGroup]) -> int:
    """Return the number of forward passes per image: one untouched and one for each distinct set of sites."""
    return len({item.site_names for item in interventions}) + 1


def _measure_batch(
    passes: Resumable,
    network: torch.nn.Module,
    batch: Batch,
    units: Sequence[int],
    distinct: Sequence[SiteGroup],
    replacements: Mapping[str, Replacement],
    label: Labels | None,
    progress: Callable[[int], None],
) -> torch.Tensor:
    """Return `(1 + intervention, measure, image)`, the untouched network first, on its device."""
    reference = next(network.parameters())
    images = batch.images.to(reference.device, reference.dtype, non_blocking=True)
    own = torch.tensor(units).to(reference.device, non_blocking=True)
    labels = None if label is None else [label(place) for place in batch.indices]
    with torch.inference_mode(), passes.kept():
        clean = log_probabilities(network(images), len(images))
        rows = [outcomes(clean, clean, own)]
        progress(len(images))
        for item in distinct:
            chosen = {site: replacements[site.name] for site in item.sites}
            with intervene(network, chosen) as intervention, passes.resumed(item.sites):
                intervention.labels = labels
                changed = log_probabilities(network(images), len(images))
            rows.append(outcomes(changed, clean, own))
            progress(len(images))
    return torch.stack(rows)


def _unit(selection: Selection, place: int) -> int:
    index = selection.entries[place].sample.image_class.index
    return -1 if index is None else index


def _skipped(selection: Selection, batch: Batch) -> list[dict[str, str]]:
    return [
        {
            "path": item.path,
            "class": selection.entries[item.index].sample.image_class.name,
            "reason": item.reason,
        }
        for item in batch.skipped
    ]
