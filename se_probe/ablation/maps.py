"""Maps of chosen gates over images, and their test in pixels: what a gate does when parts of the image are blurred.

A map is exact on its feature grid. That the gate sees the pixels at the same place is a claim, because receptive
fields are larger than a cell; blurring pixels where the map is highest, lowest, and at random tests it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur

from se_probe.ablation.measure import on_device
from se_probe.analysis.map_faithfulness import Masked
from se_probe.gates import GateMap, GateMapper
from se_probe.images import Selection, batches
from se_probe.models import LoadedModel

AREA = 0.2
"""Share of the pixels that are masked."""
BLUR = 0.1
"""Standard deviation of the blur that fills a mask, as a share of the image's side."""
MASKS = ("highest", "lowest", "random")


@dataclass(frozen=True)
class ImageMap:
    """Where one gate looks in one image."""

    # site, channel: the gate.
    site: str
    channel: int
    place: int  # the image's position in the selection
    shares: NDArray[np.float32]  # `(height, width)`, what each position of the feature map adds to the logit
    # bias, logit, residual: as in `GateMap`.
    bias: float
    logit: float
    residual: float


def map_images(
    model: LoadedModel,
    selection: Selection,
    wanted: Iterable[tuple[str, int, int]],
    *,
    mapper: GateMapper,
    batch_size: int = 32,
) -> Iterator[ImageMap]:
    """Yield the maps of chosen gates in chosen images, in the order of the images.

    Only these images are decoded, each once. A backward pass through an excitation serves one channel of every image of
    a batch, which may differ from image to image. Raise SeProbeError if a site has no maps, or there is no such site or
    channel.

    Args:
        model: the network, on its device.
        selection: the images.
        wanted: (site, channel, position in the selection).
        mapper: of that network.
        batch_size: images in one forward pass.
    """
    channels: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for site, channel, place in dict.fromkeys(wanted):
        channels[place][site].append(channel)
    places = sorted(channels)
    chosen = replace(selection, entries=tuple(selection.entries[place] for place in places))
    for batch in batches(chosen, model.transform, batch_size=batch_size, workers=0):
        if batch.indices:
            rows = {places[index]: channels[places[index]] for index in batch.indices}
            maps = mapper(on_device(model, batch), _padded(list(rows.values())))
            for image, (place, row) in enumerate(rows.items()):
                for site, inside in row.items():
                    for number, channel in enumerate(inside):
                        yield _image_map(maps[site], channel, place, image, number)


def _image_map(found: GateMap, channel: int, place: int, image: int, number: int) -> ImageMap:
    shares = found.maps[image, number].float().cpu().numpy()
    numbers = (float(values[image, number]) for values in (found.bias, found.logit, found.residual))
    return ImageMap(found.site.name, channel, place, shares, *numbers)


def _padded(rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[list[int]]]:
    """Return for each site the channels of every image, padded with channel 0 to equal lengths."""
    padded = {}
    for site in dict.fromkeys(site for row in rows for site in row):
        channels = [row.get(site, ()) for row in rows]
        width = max(map(len, channels))
        padded[site] = [[*items, *[0] * (width - len(items))] for items in channels]
    return padded


def mask_images(
    model: LoadedModel,
    mapper: GateMapper,
    selection: Selection,
    channels: Mapping[str, Sequence[int]],
    *,
    seed: int = 0,
    batch_size: int = 32,
    workers: int = 0,
    progress: Callable[[int], None] = lambda passes: None,
) -> dict[str, Masked]:
    """Mask images by the maps of gates, and return site → changes of their logits.

    Args:
        seed: of the random areas, which do not depend on the batches.
        progress: called with the number of images of every pass.
    """
    changes: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    logits: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for batch in batches(selection, model.transform, batch_size=batch_size, workers=workers):
        progress(len(batch.skipped) * len(MASKS) * sum(map(len, channels.values())))
        if not batch.indices:
            continue
        images = on_device(model, batch)
        blurred = blur(images)
        for site, item in mapper(images, channels).items():
            draws = [np.random.default_rng([seed, place]) for place in batch.indices]
            masked = logits_masked(mapper, images, blurred, site, item.channels, item.maps, draws, progress)
            logits[site].append(item.logit.double().cpu().numpy())
            changes[site].append(masked.double().cpu().numpy() - logits[site][-1])
    return {site: Masked(np.concatenate(changes[site], axis=1), np.concatenate(logits[site])) for site in logits}


def blur(images: torch.Tensor) -> torch.Tensor:
    """Return images blurred so far that detail is gone and colour is left."""
    deviation = BLUR * min(images.shape[-2:])
    blurred: torch.Tensor = gaussian_blur(images, [2 * int(2 * deviation) + 1] * 2, [deviation] * 2)
    return blurred


def logits_masked(
    mapper: GateMapper,
    images: torch.Tensor,
    blurred: torch.Tensor,
    site: str,
    channels: torch.Tensor,
    maps: torch.Tensor,
    draws: Sequence[np.random.Generator],
    progress: Callable[[int], None] = lambda passes: None,
) -> torch.Tensor:
    """Return the logits of channels with each mask, `(mask, image, channel)`.

    Args:
        maps: `(image, channel, …)` on any grid; random areas have the same grain.
        draws: a generator for each image.
    """
    rows = []
    for number in range(channels.shape[1]):
        noise = np.stack([draw.standard_normal(maps.shape[2:]) for draw in draws])
        random = torch.as_tensor(noise, dtype=maps.dtype, device=maps.device)
        row = []
        for values in (maps[:, number], -maps[:, number], random):
            filled = torch.where(top_area(values, images)[:, None], blurred, images)
            row.append(mapper.logits(filled, {site: channels[:, number : number + 1]})[site][:, 0])
            progress(len(images))
        rows.append(torch.stack(row))
    return torch.stack(rows, 2)


def top_area(values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return `(image, height, width)`: the pixels in which a map `(image, …)` is highest, `AREA` of them exactly."""
    fine = interpolate(values[:, None].float(), images.shape[-2:], mode="bilinear", align_corners=False).flatten(1)
    chosen = fine.topk(round(AREA * fine.shape[1]), dim=1).indices
    mask = torch.zeros_like(fine, dtype=torch.bool)
    mask.scatter_(1, chosen, value=True)
    return mask.reshape(len(images), *images.shape[-2:])
