"""Test maps in pixels: what a gate does when they are blurred where its map is highest, lowest, and at random.

A map is exact on its feature grid. That the pixels at the same place are what it sees is a claim, since receptive
fields are larger than a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur

from se_probe.ablation.mapping import on_device
from se_probe.analysis.map_faithfulness import Masked
from se_probe.gates import GateMapper
from se_probe.images import Selection, batches
from se_probe.models import LoadedModel

AREA = 0.2
"""Share of the pixels that are masked."""
BLUR = 0.1
"""Standard deviation of the blur that fills a mask, as a share of the image's side."""
MASKS = ("highest", "lowest", "random")


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
    """Mask images by the maps of gates, and return site → what that does to their logits.

    Args:
        model: the network, on its device.
        mapper: of that network.
        selection: the images.
        channels: site → channels.
        seed: of the random areas; those of an image do not depend on the batches.
        batch_size: images in one forward pass.
        workers: processes that decode images.
        progress: called with the number of images of every pass.
    """
    parts: dict[str, list[Masked]] = {site: [] for site in channels}
    for batch in batches(selection, model.transform, batch_size=batch_size, workers=workers):
        progress(len(batch.skipped) * len(MASKS) * sum(map(len, channels.values())))
        if not batch.indices:
            continue
        images = on_device(model, batch)
        blurred = blur(images)
        for site, item in mapper(images, channels).items():
            draws = [np.random.default_rng([seed, place]) for place in batch.indices]
            changed = logits_masked(mapper, images, blurred, site, item.channels, item.maps, draws, progress)
            logits = item.logit.double().cpu().numpy()
            parts[site].append(Masked(changed.double().cpu().numpy() - logits, logits))
    return {site: _joined(rows) for site, rows in parts.items() if rows}


def _joined(parts: Sequence[Masked]) -> Masked:
    changes = np.concatenate([part.changes for part in parts], axis=1)
    return Masked(changes, np.concatenate([part.logits for part in parts]))


def blur(images: torch.Tensor) -> torch.Tensor:
    """Return images blurred so far that a mask filled with them takes detail away and leaves colour."""
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
        mapper: of the network.
        images: `(image, 3, height, width)`.
        blurred: what fills the masks.
        site: the site.
        channels: `(image, channel)`.
        maps: `(image, channel, …)` on any grid; random areas have the same grain.
        draws: a generator for each image.
        progress: called with the number of images of every pass.
    """
    rows = []
    for place in range(channels.shape[1]):
        noise = np.stack([draw.standard_normal(maps.shape[2:]) for draw in draws])
        random = torch.as_tensor(noise, dtype=maps.dtype, device=maps.device)
        masks = [top_area(values, images) for values in (maps[:, place], -maps[:, place], random)]
        row = []
        for mask in masks:
            filled = torch.where(mask[:, None], blurred, images)
            row.append(mapper.logits(filled, {site: channels[:, place : place + 1]})[site][:, 0])
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
