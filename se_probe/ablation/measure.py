"""Run images through the untouched network and through each changed one, and compare the outputs image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from se_probe.ablation.metric import Metric, Samples, samples_of
from se_probe.ablation.planning import SiteGroup
from se_probe.errors import SeProbeError
from se_probe.gates import GateRecorder, GateSite, Replacement, intervene
from se_probe.gates.resuming import Resumable
from se_probe.images import Batch, Selection, batches
from se_probe.models import LoadedModel

Labels = Callable[[int], str]
# Measures of one image under one intervention, in this order.
MEASURES = ("top1", "top5", "nll", "kl", "agree")
TOP = 5
# Images that `require_measurable` tries.
TRIED = 4


@dataclass(frozen=True)
class BatchOutcomes:
    """Outcomes of one batch."""

    places: tuple[int, ...]  # positions of the images in the selection
    changed: NDArray[np.float64]  # `(intervention, measure, image)`: `MEASURES`, or the one value of a metric
    clean: NDArray[np.float64]  # `(measure, image)` of the untouched network
    skipped: list[dict[str, str]]  # images that could not be decoded, as `path`, `class` and `reason`


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
        metric: replaces `MEASURES`.
        label: maps an image's position in the selection to its label, for replacements that differ by class or image.
        batch_size: images in one forward pass.
        workers: processes that decode images.
        progress: called after each pass with the number of images in it.

    Raises:
        SeProbeError: the network does not return logits, or the metric fails or returns no finite number.
    """
    network = model.network
    passes = Resumable(network, sites, model.input_size)
    distinct = list({item.site_names: item for item in interventions}.values())
    row = {item.site_names: number for number, item in enumerate(distinct)}
    order = [row[item.site_names] for item in interventions]
    for batch in batches(selection, model.transform, batch_size=batch_size, workers=workers):
        values = np.empty((len(distinct) + 1, len(MEASURES) if metric is None else 1, 0))
        if batch.indices:
            images = on_device(model, batch)
            labels = None if label is None else [label(place) for place in batch.indices]
            with torch.inference_mode(), passes.kept():
                clean = network(images)
                samples = samples_of(selection, batch.indices, images, clean)
                rows = [_values(clean, samples, metric)]
                progress(len(images))
                for group in distinct:
                    changed = _changed_output(network, passes, group, replacements, images, labels)
                    rows.append(_values(changed, samples, metric))
                    progress(len(images))
            values = torch.stack(rows).cpu().numpy().astype(np.float64)
            if metric is not None:
                metric.require_finite(values, values[0, 0], samples.paths)
        progress(len(batch.skipped) * (len(distinct) + 1))
        yield BatchOutcomes(batch.indices, values[1:][order], values[0], _skipped(selection, batch))


def _changed_output(
    network: nn.Module,
    passes: Resumable,
    group: SiteGroup,
    replacements: Mapping[str, Replacement],
    images: torch.Tensor,
    labels: Sequence[str] | None,
) -> object:
    chosen = {site: replacements[site.name] for site in group.sites}
    with intervene(network, chosen) as intervention, passes.resumed(group.sites):
        intervention.labels = labels
        return network(images)


def _values(output: object, samples: Samples, metric: Metric | None) -> torch.Tensor:
    """Return `(measure, image)` of an output."""
    if metric is not None:
        return metric(output, samples)[None]
    clean = log_probabilities(samples.untouched, len(samples))
    return outcomes(log_probabilities(output, len(samples)), clean, samples.units)


def log_probabilities(output: object, images: int) -> torch.Tensor:
    """Return `(image, class)` log probabilities, in float64 where the device has it.

    Raise SeProbeError if the output is not logits.
    """
    if not (isinstance(output, torch.Tensor) and output.dim() == 2 and len(output) == images and output.shape[1] > 1):
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise SeProbeError(
            f"the network's output is {shape}; expected logits ({images} images, classes): give a measure of your own "
            "with --metric."
        )
    return output.to(torch.float32 if output.device.type == "mps" else torch.float64).log_softmax(1)


def outcomes(changed: torch.Tensor, clean: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Return `MEASURES` of each image, `(measure, image)`.

    "top1" and "top5" are correctness, "nll" the negative log-likelihood in nats, "kl" is KL(clean ‖ changed) in nats,
    "agree" whether both networks predict the same class.

    Args:
        changed: log probabilities of the changed network, `(image, class)`.
        clean: log probabilities of the untouched network, `(image, class)`.
        units: output unit of each image's class; −1 where the network has none, and "top1", "top5", "nll" are NaN.
    """
    known = (units >= 0) & (units < changed.shape[1])
    own = torch.where(known, units, 0)[:, None]
    first = changed.topk(min(TOP, changed.shape[1])).indices
    hits = first == own
    divergence = (clean.exp() * (clean - changed)).sum(1)
    own_log = changed.gather(1, own)[:, 0]
    labelled = torch.stack([hits[:, 0].to(changed.dtype), hits.any(1).to(changed.dtype), -own_log])
    labelled = torch.where(known, labelled, torch.nan)
    agree = first[:, 0] == clean.argmax(1)
    return torch.cat([labelled, divergence.clamp(min=0)[None], agree.to(changed.dtype)[None]])


def require_measurable(model: LoadedModel, selection: Selection, metric: Metric | None = None) -> None:
    """Measure the first images once, so that a run fails before anything is recorded.

    Raise SeProbeError if the network does not return logits, or the metric fails or returns no finite number.
    """
    for batch in batches(selection, model.transform, batch_size=TRIED, workers=0):
        if batch.indices:
            images = on_device(model, batch)
            with torch.inference_mode():
                clean = model.network(images)
                samples = samples_of(selection, batch.indices, images, clean)
                values = _values(clean, samples, metric).cpu().numpy()
            if metric is not None:
                metric.require_finite(values, values[0], samples.paths)
            return


def passes_of(interventions: Sequence[SiteGroup]) -> int:
    """Return the number of forward passes per image: one untouched and one for each distinct set of sites."""
    return len({item.site_names for item in interventions}) + 1


def gather_gates(
    model: LoadedModel,
    sites: Sequence[GateSite],
    selection: Selection,
    *,
    batch_size: int,
    workers: int,
    progress: Callable[[int], None] = lambda images: None,
) -> tuple[list[int], dict[str, NDArray[np.floating]]]:
    """Return the gates of all images that can be decoded, in memory.

    Returns:
        Positions of the images in the selection, and site → `(image, channel)` or `(image, branch, channel)`.
    """
    places: list[int] = []
    rows: dict[str, list[NDArray[np.floating]]] = {site.name: [] for site in sites}
    with GateRecorder(model.network, sites) as recorder, torch.inference_mode():
        for batch in batches(selection, model.transform, batch_size=batch_size, workers=workers):
            if batch.indices:
                model.network(on_device(model, batch))
                for name, values in recorder.gates.items():
                    rows[name].append(values.float().cpu().numpy())
            places += batch.indices
            progress(len(batch.indices) + len(batch.skipped))
    return places, {name: np.concatenate(parts) for name, parts in rows.items() if parts}


def on_device(model: LoadedModel, batch: Batch) -> torch.Tensor:
    """Return a batch's images on the network's device and in its dtype."""
    reference = next(model.network.parameters())
    return batch.images.to(reference.device, reference.dtype, non_blocking=True)


def _skipped(selection: Selection, batch: Batch) -> list[dict[str, str]]:
    classes = [selection.entries[item.index].sample.image_class.name for item in batch.skipped]
    return [
        {"path": item.path, "class": name, "reason": item.reason}
        for item, name in zip(batch.skipped, classes, strict=True)
    ]
