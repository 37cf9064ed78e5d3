"""A few of the selected images, on which ways of running a network are compared before the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from se_probe.images import Selected, Selection, batches
from se_probe.images.imageset import ImageStream
from se_probe.models import LoadedModel


@dataclass(frozen=True)
class Probe:
    """Images `(n, 3, H, W)`, on the host, and the class of each."""

    images: torch.Tensor
    classes: Sequence[str]


def probe_of(model: LoadedModel, selection: Selection, count: int) -> Probe:
    """Return up to `count` images, spread evenly, of the chosen classes where there are any; of a stream, the first.

    Where none are asked for or can be decoded, one image of noise is returned in their place.
    """
    noise = Probe(torch.randn(1, *model.input_size, generator=torch.Generator().manual_seed(0)), [""])
    if not count:
        return noise
    chosen = [entry for entry in selection.entries if entry.role == "chosen"] or selection.entries
    chosen = sorted(chosen, key=lambda entry: entry.position)
    entries = chosen[:count] if isinstance(selection.images.source, ImageStream) else _spread(chosen, count)
    loaded = batches(replace(selection, entries=tuple(entries)), model.transform, batch_size=count, workers=0)
    batch = next(loaded)
    if not batch.indices:
        return noise
    return Probe(batch.images, [entries[index].sample.image_class.name for index in batch.indices])


def _spread(entries: Sequence[Selected], count: int) -> Sequence[Selected]:
    return [entries[index * len(entries) // count] for index in range(count)] if count < len(entries) else entries
