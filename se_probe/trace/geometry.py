"""How a factor relates to the feature map that it multiplies: the axes along which it varies, and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from se_probe.trace.axes import Axis

Kind = Literal["channel", "spatial", "one place", "folded", "number", "unknown"]
# A normalised map has the same scale for all images, up to the epsilon of the normalisation.
_REMAINS, _SAME = 0.05, 1e-4


@dataclass(frozen=True)
class Geometry:
    """Axes of a product of a feature map and a factor, aligned, with the images on their own axis."""

    # "channel" for a gate, "spatial" for a factor that varies over space, "one place" for a gate on a map that has a
    # single position at this input size, "folded" for a gate on an axis that the images share with space, "number" for
    # one factor per image, "unknown" if no larger input shows which axes are spatial.
    kind: Kind
    image: int  # axis of the images
    kept: tuple[int, ...]  # other axes along which the factor varies
    free: tuple[int, ...]  # axes along which it is constant
    space: tuple[int, ...]  # the feature map's spatial axes
    split: int = 1  # positions per image on the image axis, which get their own axis after it; 1 for none
    written_out: bool = False  # whether the factor is constant over space by its values, not by its shape


def split_images(tensor: torch.Tensor, axis: int, positions: int) -> torch.Tensor:
    """Return a view in which the positions per image have their own axis after the image axis."""
    return tensor if positions == 1 else tensor.unflatten(axis, (-1, positions))


def geometry(
    feature: torch.Tensor, factor: torch.Tensor, axes: Sequence[Axis], place: int, images: int, matrices: bool
) -> Geometry | None:
    """Classify a product of two aligned operands.

    Args:
        place: the factor's position among the two operands, 0 or 1.

    Returns:
        None if the factor is neither a gate nor a spatial map: it varies wherever the feature map does, or is the same
        for all images.
    """
    on_images = [axis for axis, item in enumerate(axes) if item.images]
    if len(on_images) != 1:
        return None
    (image,) = on_images
    split = axes[image].images
    if feature.size(image) != images * split or factor.size(image) != images * split or not varies(factor, image):
        return None
    if split > 1 and axes[image].space:
        found = _over_space(feature, factor, axes, image, place, matrices)
        return replace(found, kind="folded") if found is not None and found.kind == "channel" else None
    rows = list(axes)
    if split > 1:
        feature, factor = split_images(feature, image, split), split_images(factor, image, split)
        rows[image : image + 1] = [Axis(1), Axis()]
    found = _over_space(feature, factor, rows, image, place, matrices)
    return None if found is None else replace(found, split=split)


def _over_space(
    feature: torch.Tensor, factor: torch.Tensor, axes: Sequence[Axis], image: int, place: int, matrices: bool
) -> Geometry | None:
    rest = [axis for axis in range(feature.dim()) if axis != image]
    space = [axis for axis in rest if axes[axis].space]
    others = [axis for axis in rest if axis not in space]
    kept = [axis for axis in others if varies(factor, axis)]
    fits = all(feature.size(axis) == factor.size(axis) for axis in kept)
    if space and all(feature.size(axis) == factor.size(axis) == 1 for axis in space):
        alone = all(axes[axis].grows[1 - place] and not axes[axis].grows[place] for axis in space)
        return _made("one place", image, kept, rest, space) if alone and kept and fits else None
    if not any(varies(feature, axis) for axis in space):
        return None
    if all(constant_along(factor, axis) for axis in space):
        if not fits:
            return None
        if kept and not any(varies(feature, axis) for axis in kept):
            # Here the "feature map" is a spatial map that multiplies a channel vector.
            return _made("spatial", image, kept, rest, space)
        written_out = any(varies(factor, axis) for axis in space)
        return replace(_made("channel" if kept else "number", image, kept, rest, space), written_out=written_out)
    if matrices:
        return None
    kept = [axis for axis in rest if varies(factor, axis)]
    if all(axis in kept for axis in rest if varies(feature, axis)):
        kept = [axis for axis in kept if not constant_along(factor, axis)]
    fits = all(feature.size(axis) == factor.size(axis) for axis in kept)
    free = any(varies(feature, axis) for axis in rest if axis not in kept)
    return _made("spatial", image, kept, rest, space) if kept and fits and free else None


def _made(kind: Kind, image: int, kept: Sequence[int], rest: Sequence[int], space: Sequence[int]) -> Geometry:
    return Geometry(kind, image, tuple(kept), tuple(axis for axis in rest if axis not in kept), tuple(space))


def by_shape(feature: torch.Tensor, factor: torch.Tensor, images: int) -> Geometry | None:
    """Return the geometry, of unknown kind, of a product that no larger input reaches; None if not a candidate."""
    if feature.dim() < 3 or feature.size(0) != images or factor.size(0) != images or not varies(factor, 0):
        return None
    rest = range(1, feature.dim())
    kept = [axis for axis in rest if varies(factor, axis)]
    free = [axis for axis in rest if axis not in kept]
    fits = all(feature.size(axis) == factor.size(axis) for axis in kept)
    if not (kept and fits and any(varies(feature, axis) for axis in free)):
        return None
    return Geometry("unknown", 0, tuple(kept), tuple(free), tuple(free))


def varies(tensor: torch.Tensor, axis: int) -> bool:
    """Return whether a tensor can vary along an axis: its length is above 1, and it is not an expanded view there."""
    return tensor.size(axis) > 1 and tensor.stride(axis) != 0


def constant_along(tensor: torch.Tensor, axis: int) -> bool:
    """Return whether a tensor has equal values along an axis; on the meta device, whether it cannot vary."""
    if not varies(tensor, axis):
        return True
    if tensor.is_meta or not tensor.is_floating_point():
        return False
    first = tensor.narrow(axis, 0, 1)
    return nearly_equal(tensor.narrow(axis, 1, 1), first) and nearly_equal(tensor, first.expand_as(tensor))


def nearly_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors are equal up to the rounding of an interpolation."""
    return torch.equal(one, other) or torch.allclose(one, other, rtol=4 * torch.finfo(one.dtype).eps, atol=0)


def is_normalised(feature: torch.Tensor, factor: torch.Tensor, kept: Sequence[int]) -> bool:
    """Return whether a factor removes the difference in scale of a feature map between two images.

    Root mean square, standard deviation, mean absolute value and maximum are compared, over all axes along which the
    factor is constant. False on the meta device, which has no values.

    Args:
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


def _scales(values: torch.Tensor, axes: list[int]) -> list[torch.Tensor]:
    variance, mean = torch.var_mean(values, axes, correction=0, keepdim=True)
    return [
        (variance + mean**2).sqrt(),
        variance.sqrt(),
        values.abs().mean(axes, keepdim=True),
        values.abs().amax(axes, keepdim=True),
    ]


def _evens_out(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether the product removes the relative difference between two images."""
    differed, differs = (
        (scale[0] - scale[1]).abs() / scale.mean(0).clamp_min(torch.finfo(scale.dtype).tiny)
        for scale in (before, after)
    )
    live = differed > 10 * _SAME
    return bool(live.any()) and bool((differs[live] <= _REMAINS * differed[live] + _SAME).all())
