"""How a factor relates to the feature map that it multiplies: the axes that it varies along, and those of the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from se_probe.trace.axes import Axis, Shape, aligned, constant_along, varies


@dataclass(frozen=True)
class Geometry:
    """Axes of a product of a feature map and a factor, both aligned and with the images on an axis of their own.

    Attributes:
        kind: "channel" for a gate, "spatial" for a factor that varies over space, "one place" for a gate on a map
            that has a single position at this input size, "folded" for a gate on an axis that the images share with
            space, "number" for one factor an image, "unknown" where no larger input tells which axes are spatial.
        image: axis of the images.
        kept: other axes along which the factor varies.
        free: axes along which it is constant.
        space: the feature map's spatial axes.
        split: positions on the image axis besides the images, which are split off behind it; 1 for none.
        written_out: whether the factor is constant over space by its values, not by its shape.
    """

    kind: Literal["channel", "spatial", "one place", "folded", "number", "unknown"]
    image: int
    kept: tuple[int, ...]
    free: tuple[int, ...]
    space: tuple[int, ...]
    split: int = 1
    written_out: bool = False


def split_images(tensor: torch.Tensor, axis: int, positions: int) -> torch.Tensor:
    """Return a view with what shares the image axis on an axis behind it."""
    return tensor if positions == 1 else tensor.unflatten(axis, (-1, positions))


def geometry(
    feature: torch.Tensor, factor: torch.Tensor, axes: Sequence[Axis], place: int, images: int, matrices: bool
) -> Geometry | None:
    """Classify a product of two aligned operands.

    Args:
        feature: candidate feature map.
        factor: candidate factor, of the same rank.
        axes: what the axes are.
        place: which of the two operands the factor is, 0 or 1.
        images: number of images.
        matrices: whether it is a product of matrices.

    Returns:
        None where the factor is no gate and no spatial map: it varies wherever the feature map does, or is the same
        for all images.
    """
    on_images = [axis for axis, item in enumerate(axes) if item.images]
    if len(on_images) != 1:
        return None
    (image,) = on_images
    split = axes[image].images
    if feature.size(image) != images * split or factor.size(image) != images * split or not varies(factor, image):
        return None
    folded = axes[image].space and split > 1
    rows = list(axes)
    if split > 1 and not folded:
        feature, factor = split_images(feature, image, split), split_images(factor, image, split)
        rows[image : image + 1] = [Axis(1), Axis()]
    else:
        split = 1
    found = _over_space(feature, factor, rows, image, place, matrices)
    if found is None:
        return None
    if folded:
        return replace(found, kind="folded") if found.kind == "channel" else None
    return replace(found, split=split)


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
            # A spatial map times a channel vector: attention over both, and no feature map.
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


def _made(
    kind: Literal["channel", "spatial", "one place", "number"],
    image: int,
    kept: Sequence[int],
    rest: Sequence[int],
    space: Sequence[int],
) -> Geometry:
    return Geometry(kind, image, tuple(kept), tuple(axis for axis in rest if axis not in kept), tuple(space))


def by_shape(feature: torch.Tensor, factor: torch.Tensor, images: int) -> Geometry | None:
    """Return the geometry, of unknown kind, of a product that no larger input reaches; None if it is no candidate."""
    rank = feature.dim()
    if rank < 3 or feature.size(0) != images or factor.size(0) != images or not varies(factor, 0):
        return None
    rest = range(1, rank)
    kept = [axis for axis in rest if varies(factor, axis)]
    free = [axis for axis in rest if axis not in kept]
    if not kept or not any(varies(feature, axis) for axis in free):
        return None
    if any(feature.size(axis) != factor.size(axis) for axis in kept):
        return None
    return Geometry("unknown", 0, tuple(kept), tuple(free), tuple(free))


@dataclass(frozen=True)
class Pair:
    """The two operands of a product; `place` says which of the two the factor is."""

    feature: torch.Tensor
    factor: torch.Tensor
    place: int
    matrices: bool

    @property
    def shapes(self) -> tuple[Shape, Shape]:
        """Shapes of the operands, in the order of the arguments."""
        feature, factor = tuple(self.feature.shape), tuple(self.factor.shape)
        return (feature, factor) if self.place else (factor, feature)

    @property
    def aligned(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Feature map and factor as views of equal rank."""
        if self.place:
            return aligned((self.feature, self.factor), self.matrices)
        factor, feature = aligned((self.factor, self.feature), self.matrices)
        return feature, factor

    def own_axes(self, found: Geometry) -> dict[int, int]:
        """Return aligned axis → axis of the factor itself, split as the aligned operands are."""
        rank = 4 if self.matrices else max(self.feature.dim(), self.factor.dim())
        own = [0, 2, 3] if self.place and self.matrices else list(range(rank - self.factor.dim(), rank))
        if self.matrices and not self.place:
            own = [0, 1, 2]
        if found.split > 1:
            own = [axis + (axis > found.image) for axis in own]
            own.insert(own.index(found.image) + 1, found.image + 1)
        return {axis: place for place, axis in enumerate(own)}
