"""What the axes of a product are: images, space or neither, told by passes with more images and with larger inputs.

An axis that grows with the number of images holds the images, and one that grows with the extent of the input is
spatial; channels and branches do not grow. Only shapes are compared, so that the passes run on the meta device where
the network can be copied there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from se_probe.trace.calls import CallMode, Key
from se_probe.trace.dry_pass import left_alone, meta_copy
from se_probe.trace.example import Example
from se_probe.trace.watching import product_operands

Shape = tuple[int, ...]
MATRIX_PRODUCTS = {"bmm", "baddbmm"}
# On the meta device these take far more time than anything else, for shapes that do not change.
_BATCH_NORMS = {"native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"}


@dataclass(frozen=True)
class Axis:
    """What an axis of a product is.

    Attributes:
        images: how many positions an image has on it, 0 where the images are not on it.
        grows: for each of the two operands, whether its length grows with the extent of the input.
    """

    images: int = 0
    grows: tuple[bool, bool] = (False, False)

    @property
    def space(self) -> bool:
        """Whether it is a spatial axis."""
        return any(self.grows)


@dataclass(frozen=True)
class Shapes:
    """Shapes of the operands of every product of a pass, and whether the pass came to its end."""

    products: dict[Key, tuple[Shape, Shape]] = field(default_factory=dict)
    complete: bool = True


@dataclass(frozen=True)
class Experiments:
    """Passes over other sizes: more images, and the input longer along some of its axes.

    Attributes:
        images: the pass over `count` images.
        count: how many images that were.
        grown: the passes over larger inputs, with the axes of the input that were longer.
        inside: experiments on single module calls, by path and call, where larger inputs of the network do not reach.
    """

    images: Shapes
    count: int
    grown: tuple[tuple[tuple[int, ...], Shapes], ...]
    inside: Mapping[tuple[str, int], Experiments] = field(default_factory=dict)

    @property
    def extents(self) -> tuple[int, ...]:
        """Axes of the input along which the network takes other lengths, the image axis not counted."""
        return tuple(sorted({axis for axes, shapes in self.grown if shapes.complete for axis in axes}))

    def axes(self, key: Key, shapes: tuple[Shape, Shape], matrices: bool, images: int) -> list[Axis] | None:
        """Return what the axes of a product's operands are, each as `aligned` orders them; None if not known.

        Args:
            key: key of the product.
            shapes: shapes of its operands in the pass over the example.
            matrices: whether it is a product of matrices.
            images: number of images of the example.
        """
        here = aligned_shapes(shapes, matrices)
        larger = [found for found in self._reaching(key, matrices) if len(found[0]) == len(here[0])]
        if not larger:
            module, call, index = key
            inner = self.inside.get((module, call))
            return None if inner is None else inner.axes(("", 0, index), shapes, matrices, images)
        more = self.images.products.get(key)
        many = aligned_shapes(more, matrices) if more is not None else None
        return [
            Axis(_positions(here, many, axis, images, self.count), _grows(here, larger, axis))
            for axis in range(len(here[0]))
        ]

    def _reaching(self, key: Key, matrices: bool) -> list[tuple[Shape, Shape]]:
        """Return the shapes of a product in the passes that reached it, from those that ended where there are any."""
        reached = [(shapes.complete, shapes.products[key]) for _, shapes in self.grown if key in shapes.products]
        complete = [found for whole, found in reached if whole]
        return [aligned_shapes(found, matrices) for found in complete or [found for _, found in reached]]


def _grows(here: tuple[Shape, Shape], larger: Sequence[tuple[Shape, Shape]], axis: int) -> tuple[bool, bool]:
    first, second = (any(here[place][axis] != found[place][axis] for found in larger) for place in (0, 1))
    return first, second


def _positions(here: tuple[Shape, Shape], many: tuple[Shape, Shape] | None, axis: int, images: int, count: int) -> int:
    """Return how many positions an image has on an axis, from its length for two numbers of images."""
    if many is None or len(many[0]) != len(here[0]):
        return int(axis == 0 and max(shape[0] for shape in here) == images)
    for first, second in zip(here, many, strict=True):
        if first[axis] != second[axis] and first[axis] * count == second[axis] * images:
            return first[axis] // images
    return 0


def aligned_shapes(shapes: tuple[Shape, Shape], matrices: bool) -> tuple[Shape, Shape]:
    """Return the shapes of two operands broadcast against each other; matrices as (batch, row, summed, column)."""
    first, second = shapes
    if matrices:
        return (*first, 1), (second[0], 1, *second[1:])
    rank = max(len(first), len(second))
    return (1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second


def aligned(operands: Sequence[torch.Tensor], matrices: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return views of two operands of equal rank, ordered as `aligned_shapes` does."""
    first, second = operands
    shapes = aligned_shapes((tuple(first.shape), tuple(second.shape)), matrices)
    if matrices:
        return first.unsqueeze(3), second.unsqueeze(1)
    return first.reshape(shapes[0]), second.reshape(shapes[1])


class _ShapeMode(CallMode):
    """Notes the shapes of the operands of every product."""

    def __init__(self) -> None:
        super().__init__()
        self.products: dict[Key, tuple[Shape, Shape]] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one elementary operation."""
        if (operands := product_operands(func, args)) is not None:
            first, second = (tuple(args[place].shape) for place in operands)
            self.products[self.count_product()] = first, second
        if self._operation.name in _BATCH_NORMS and args[0].is_meta:
            return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        return func(*args, **kwargs)


def _shapes(network: nn.Module, example: Example) -> Shapes:
    mode = _ShapeMode()
    try:
        with left_alone(network):
            mode.watch(network, example)
    except Exception:  # A network may fail in its own way on a size that it does not take.
        return Shapes(mode.products, complete=False)
    return Shapes(mode.products)


def experiment(network: nn.Module, example: Example) -> Experiments:
    """Run a network over more images and over larger inputs, an axis at a time, and keep the shapes of its products."""
    count = example.images + 1
    images, subject = Shapes(complete=False), example.on_meta()
    copied = meta_copy(network)
    if copied is not None:
        images = _shapes(copied, subject.repeated(count))
    if not images.complete:
        # A branch on a value, or a tensor that is no buffer: shapes alone do not run.
        copied, subject = network, example
        images = _shapes(network, example.repeated(count))
    runner: nn.Module = copied if copied is not None else network
    axes = subject.axes()
    grown: list[tuple[tuple[int, ...], Shapes]] = [
        ((axis,), _shapes(runner, subject.grown([(axis, length)]))) for axis, length in axes
    ]
    failed = [item for item, (_, shapes) in zip(axes, grown, strict=True) if not shapes.complete]
    spatial = [item for item in failed if item[0] > 1]
    if len(spatial) > 1:
        # Some networks take square inputs only.
        grown.append((tuple(axis for axis, _ in spatial), _shapes(runner, subject.grown(spatial))))
    if len(example.input_size) > 2:
        # The first of three axes is the channels by convention; before the first layer they could seem to be space.
        grown = [item for item in grown if item[1].complete or item[0] != (1,)]
    return Experiments(images, count, tuple(grown))


def experiment_inside(module: nn.Module, args: Example) -> Experiments | None:
    """Run one module over more images and larger inputs of its own; None where that tells nothing.

    Channels are told from space by the weights that take no other number of them. A module that takes any length
    along every axis has no such weights.
    """
    copied = meta_copy(module)
    if copied is None:
        return None
    found = experiment(copied, args)
    return found if set(found.extents) != {axis for axis, _ in args.axes()} else None


def varies(tensor: torch.Tensor, axis: int) -> bool:
    """Return whether a tensor can differ along an axis: it is longer than 1 and not an expanded view."""
    return tensor.size(axis) > 1 and tensor.stride(axis) != 0


def constant_along(tensor: torch.Tensor, axis: int) -> bool:
    """Return whether a tensor has equal values along an axis, up to the rounding of an interpolation.

    On the meta device: whether it cannot differ.
    """
    if not varies(tensor, axis):
        return True
    if tensor.is_meta or not tensor.is_floating_point():
        return False
    first = tensor.narrow(axis, 0, 1)
    return nearly_equal(tensor.narrow(axis, 1, 1), first) and nearly_equal(tensor, first.expand_as(tensor))


def nearly_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors are equal up to the rounding of an interpolation."""
    return torch.equal(one, other) or torch.allclose(one, other, rtol=4 * torch.finfo(one.dtype).eps, atol=0)


def stride_of(sizes: Sequence[int], extent: Sequence[int]) -> float:
    """Return the linear ratio of the input's extent to a feature map's, whatever the order of its axes."""
    return float((math.prod(extent) / max(1, math.prod(sizes))) ** (1 / max(1, len(extent))))
