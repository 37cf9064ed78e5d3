"""Factors that undo the scale of their own feature map: normalisation written as a product."""

from __future__ import annotations

from collections.abc import Sequence

import torch

# A normalised map has the same scale whatever the image; what is left of the difference comes from epsilon.
_REMAINS = 0.05
_SAME = 1e-4


def is_normalised(feature: torch.Tensor, factor: torch.Tensor, kept: Sequence[int]) -> bool:
    """Return whether a factor takes away by how much the scale of a feature map differs between two images.

    Root mean square, deviation, mean absolute value and maximum are compared, each over all axes that the factor is
    constant along. False on the meta device, where there are no values.

    Args:
        feature: feature map of two images of different contrast.
        factor: its factor, of the same rank.
        kept: axes along which the factor varies, the image axis first.
    """
    if feature.is_meta:
        return False
    free = [axis for axis in range(feature.dim()) if axis not in kept]
    scaled = feature.float() * factor.float()
    return any(
        _evens_out(before.movedim(kept[0], 0), after.movedim(kept[0], 0))
        for before, after in zip(_scales(feature.float(), free), _scales(scaled, free), strict=True)
    )


def _scales(values: torch.Tensor, axes: Sequence[int]) -> list[torch.Tensor]:
    axes = tuple(axes)
    variance, mean = torch.var_mean(values, axes, correction=0, keepdim=True)
    return [
        (variance + mean**2).sqrt(),
        variance.sqrt(),
        values.abs().mean(axes, keepdim=True),
        values.abs().amax(axes, keepdim=True),
    ]


def _evens_out(before: torch.Tensor, after: torch.Tensor) -> bool:
    differed, differs = (_difference(scale) for scale in (before, after))
    live = differed > 10 * _SAME
    return bool(live.any()) and bool((differs[live] <= _REMAINS * differed[live] + _SAME).all())


def _difference(scale: torch.Tensor) -> torch.Tensor:
    """Return the relative difference between the images."""
    return (scale[0] - scale[1]).abs() / scale.mean(0).clamp_min(torch.finfo(scale.dtype).tiny)
