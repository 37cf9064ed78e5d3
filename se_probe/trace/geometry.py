"""The shape of a gate: which axes of a factor carry it, and which are broadcast over the feature map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Geometry:
    """How a factor relates to the feature map that it multiplies.

    Attributes:
        kind: "channel" for a gate, "spatial" for a factor that varies over space.
        kept: axes, other than the image axis, along which the factor varies.
        free: axes along which it is broadcast: the feature map's spatial axes.
    """

    kind: Literal["channel", "spatial"]
    kept: tuple[int, ...]
    free: tuple[int, ...]


def varies(tensor: torch.Tensor, axis: int) -> bool:
    """Return whether a tensor can differ along an axis: it is longer than 1 and not an expanded view."""
    return tensor.size(axis) > 1 and tensor.stride(axis) != 0


def geometry(feature: torch.Tensor, factor: torch.Tensor, input_size: Sequence[int]) -> Geometry | None:
    """Classify a multiplication of a feature map by a factor, by shapes and strides alone.

    Args:
        feature: candidate feature map, image axis first, any order of the other axes.
        factor: candidate factor.
        input_size: size of the network's input without the image axis, `(3, H, W)` for images.

    Returns:
        None where the factor is no gate and no spatial map: it has the full extent of the feature map, no
        extent but the image axis, or the images do not lie on the first axis of both.
    """
    rank = feature.dim()
    if rank < 3 or factor.dim() != rank or feature.size(0) != factor.size(0):
        return None
    if not (varies(feature, 0) and varies(factor, 0)):
        return None
    kept = tuple(axis for axis in range(1, rank) if varies(factor, axis))
    free = tuple(axis for axis in range(1, rank) if axis not in kept)
    if not kept or not any(varies(feature, axis) for axis in free):
        return None
    if any(feature.size(axis) != factor.size(axis) for axis in kept):
        return None
    spatial_rank = len(input_size) - 1
    if rank == 3:
        channel = spatial_rank == 1 and kept == (1,)
        channel |= spatial_rank > 1 and _carries_channels(feature, kept, free, input_size)
    else:
        channel = len(free) >= spatial_rank
    return Geometry("channel" if channel else "spatial", kept, free)


def _carries_channels(
    feature: torch.Tensor, kept: tuple[int, ...], free: tuple[int, ...], input_size: Sequence[int]
) -> bool:
    """Tell `(image, token, channel)` from `(image, channel, position)`: positions count like a grid."""
    on_grid, over_grid = (_is_grid(feature.size(axis), input_size) for axis in (kept[0], free[0]))
    return kept == (2,) if on_grid == over_grid else over_grid


def _is_grid(positions: int, input_size: Sequence[int]) -> bool:
    extents = input_size[1:]
    strides = (2**power for power in range(8))
    return positions in {math.prod(math.ceil(extent / stride) for extent in extents) for stride in strides}


def stride_of(sizes: Sequence[int], input_size: Sequence[int]) -> float:
    """Return the linear ratio of the input's extent to a feature map's, whatever the order of its axes."""
    spatial_rank = len(input_size) - 1
    return float((math.prod(input_size[1:]) / max(1, math.prod(sizes))) ** (1 / spatial_rank))
