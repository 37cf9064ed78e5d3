"""Where chosen gates look in chosen images: maps for triples of site, channel and image, each image decoded once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.gates import GateMap, GateMapper
from se_probe.images import Batch, Selection, batches
from se_probe.models import LoadedModel


@dataclass(frozen=True)
class ImageMap:
    """Where one gate looks in one image.

    Attributes:
        site, channel: the gate.
        place: the image's place in the selection.
        shares: `(height, width)`, what each position of the feature map adds to the logit.
        bias, logit, residual: as in `GateMap`.
    """

    site: str
    channel: int
    place: int
    shares: NDArray[np.float32]
    bias: float
    logit: float
    residual: float


def map_images(
    model: LoadedModel,
    selection: Selection,
    wanted: Iterable[tuple[str, int, int]],
    *,
    mapper: GateMapper | None = None,
    batch_size: int = 32,
    workers: int = 0,
    progress: Callable[[int], None] = lambda images: None,
) -> Iterator[ImageMap]:
    """Yield the maps of chosen gates in chosen images, in the order of the images.

    Only the images that are named are decoded, and each passes the network once, however many gates are asked for. A
    backward pass through an excitation serves one channel of every image of the batch, another one for each.

    Args:
        model: the network, on its device.
        selection: the images.
        wanted: (site, channel, place in the selection).
        mapper: what `GateMapper` made for the network; one is made by default.
        batch_size: images in one forward pass.
        workers: processes that decode images.
        progress: called with the number of images that are done.

    Raises:
        SeProbeError: a site has no maps, or there is no such site or channel.
    """
    channels: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for site, channel, place in dict.fromkeys(wanted):
        channels[place][site].append(channel)
    places = sorted(channels)
    mapper = mapper or GateMapper(
        model.network, {site for row in channels.values() for site in row}, input_size=model.input_size
    )
    chosen = replace(selection, entries=tuple(selection.entries[place] for place in places))
    for batch in batches(chosen, model.transform, batch_size=batch_size, workers=workers):
        inside = [places[index] for index in batch.indices]
        if inside:
            rows = [channels[place] for place in inside]
            found = mapper(on_device(model, batch), _padded(rows))
            for image, (place, row) in enumerate(zip(inside, rows, strict=True)):
                yield from _maps(found, image, place, row)
        progress(len(batch.indices) + len(batch.skipped))


def on_device(model: LoadedModel, batch: Batch) -> torch.Tensor:
    """Return a batch's images on the network's device and in its dtype."""
    reference = next(model.network.parameters())
    return batch.images.to(reference.device, reference.dtype, non_blocking=True)


def _padded(rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[list[int]]]:
    """Return for each site the channels of every image, filled up with channel 0 to equal lengths."""
    sites = dict.fromkeys(site for row in rows for site in row)
    most = {site: max(len(row.get(site, ())) for row in rows) for site in sites}
    return {
        site: [[*row.get(site, ()), *[0] * (count - len(row.get(site, ())))] for row in rows]
        for site, count in most.items()
    }


def _maps(found: Mapping[str, GateMap], image: int, place: int, row: Mapping[str, Sequence[int]]) -> Iterator[ImageMap]:
    for site, channels in row.items():
        item = found[site]
        for number, channel in enumerate(channels):
            numbers = (float(values[image, number]) for values in (item.bias, item.logit, item.residual))
            shares = item.maps[image, number].float().cpu().numpy()
            yield ImageMap(site, channel, place, shares, *numbers)
