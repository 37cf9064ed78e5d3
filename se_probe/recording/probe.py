"""A few of the selected images, on which ways of running a network are compared before the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from se_probe.images import DeviceDecoder, Selected, Selection, batches
from se_probe.images.imageset import ImageStream
from se_probe.models import LoadedModel


@dataclass(frozen=True)
class Probe:
    """Images `(n, 3, H, W)`, on the host, the class of each, and the images as a device decodes them, on it."""

    images: torch.Tensor
    classes: Sequence[str]
    decoded: torch.Tensor | None = None


def probe_of(model: LoadedModel, selection: Selection, count: int, decoder: DeviceDecoder | None = None) -> Probe:
    """Return up to `count` images, spread evenly, of the chosen classes where there are any; of a stream, the first.

    Where none are asked for or can be decoded, one image of noise is returned in their place.
    """
    noise = Probe(torch.randn(1, *model.input_size, generator=torch.Generator().manual_seed(0)), [""])
    if not count:
        return noise
    chosen = [entry for entry in selection.entries if entry.role == "chosen"] or selection.entries
    chosen = sorted(chosen, key=lambda entry: entry.position)
    entries = chosen[:count] if isinstance(selection.images.source, ImageStream) else _spread(chosen, count)
    part = replace(selection, entries=tuple(entries))
    batch = next(batches(part, model.transform, batch_size=count, workers=0))
    if not batch.indices:
        return noise
    classes = [entries[index].sample.image_class.name for index in batch.indices]
    if decoder is None:
        return Probe(batch.images, classes)
    decoded = next(batches(part, model.transform, batch_size=count, workers=0, decoder=decoder))
    return Probe(batch.images, classes, decoded.images if decoded.indices == batch.indices else None)


def _spread(entries: Sequence[Selected], count: int) -> Sequence[Selected]:
    return [entries[index * len(entries) // count] for index in range(count)] if count < len(entries) else entries
