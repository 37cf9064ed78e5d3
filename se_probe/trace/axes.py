"""Decide which axes of a product are images, space or neither, by passes with more images and with larger inputs.

An axis that grows with the number of images holds the images, one that grows with the input is spatial; channels and
branches do not grow. Only shapes are compared, so that passes run on the meta device if the network can be copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from se_probe.trace.dry_pass import Example, left_alone, meta_copy
from se_probe.trace.watching import CallMode, Key, product_operands

Shape = tuple[int, ...]
Shapes = tuple[Shape, Shape]
MATRIX_PRODUCTS = {"bmm", "baddbmm"}
# Slow on the meta device, and shapes do not change.
_BATCH_NORMS = {"native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"}


@dataclass(frozen=True)
class Axis:
    """An axis of a product."""

    images: int = 0  # number of positions per image, 0 if the images are not on it
    grows: tuple[bool, bool] = (False, False)  # for each of the two operands, whether its length grows with the input

    @property
    def space(self) -> bool:
        """Whether it is a spatial axis."""
        return any(self.grows)


class ShapePass(CallMode):
    """The shapes of the operands of every product of a pass, and whether it completed."""

    def __init__(self, network: nn.Module, example: Example) -> None:
        super().__init__()
        self.products: dict[Key, Shapes] = {}
        self.complete = False
        # A network may fail in any way on a size that it does not accept.
        with suppress(Exception), left_alone(network):
            self.watch(network, lambda: example.call(network))
            self.complete = True

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one elementary operation."""
        if (operands := product_operands(func, args)) is not None:
            first, second = operands
            self.products[self.count_product()] = tuple(args[first].shape), tuple(args[second].shape)
        if self._operation.name in _BATCH_NORMS and args[0].is_meta:
            return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        return func(*args, **kwargs)


@dataclass(frozen=True)
class Experiments:
    """Passes over other sizes: more images, and inputs that are longer along some of their axes."""

    images: ShapePass  # the pass over `count` images
    count: int  # their number
    grown: tuple[tuple[tuple[int, ...], ShapePass], ...]  # passes over larger inputs, with the axes that are longer
    # Experiments on single module calls, by path and index, that no larger input reaches.
    inside: Mapping[tuple[str, int], Experiments] = field(default_factory=dict)

    @property
    def extents(self) -> tuple[int, ...]:
        """Axes of the input, other than the images', along which the network accepts other lengths."""
        return tuple(sorted({axis for axes, seen in self.grown if seen.complete for axis in axes}))

    def axes(self, key: Key, shapes: Shapes, matrices: bool, images: int) -> list[Axis] | None:
        """Return the axes of a product in the order of `aligned_shapes`, None if they are unknown."""
        here = aligned_shapes(shapes, matrices)
        reached = [seen for _, seen in self.grown if key in seen.products]
        # Incomplete passes count only if no pass is complete.
        reached = [seen for seen in reached if seen.complete] or reached
        larger = [aligned_shapes(seen.products[key], matrices) for seen in reached]
        larger = [found for found in larger if len(found[0]) == len(here[0])]
        if not larger:
            module, call, index = key
            inner = self.inside.get((module, call))
            return None if inner is None else inner.axes(("", 0, index), shapes, matrices, images)
        more = self.images.products.get(key)
        many = aligned_shapes(more, matrices) if more is not None else None

        def grows(operand: int, axis: int) -> bool:
            return any(here[operand][axis] != found[operand][axis] for found in larger)

        return [
            Axis(_positions(here, many, axis, images, self.count), (grows(0, axis), grows(1, axis)))
            for axis in range(len(here[0]))
        ]


def _positions(here: Shapes, many: Shapes | None, axis: int, images: int, count: int) -> int:
    """Return the number of positions per image on an axis, from its length for two numbers of images."""
    if many is None or len(many[0]) != len(here[0]):
        return int(axis == 0 and max(shape[0] for shape in here) == images)
    for first, second in zip(here, many, strict=True):
        if first[axis] != second[axis] and first[axis] * count == second[axis] * images:
            return first[axis] // images
    return 0


def aligned_shapes(shapes: Shapes, matrices: bool) -> Shapes:
    """Return the shapes of two operands broadcast against each other; matrices as (batch, row, summed, column)."""
    first, second = shapes
    if matrices:
        return (*first, 1), (second[0], 1, *second[1:])
    rank = max(len(first), len(second))
    return (1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second


def experiment(network: nn.Module, example: Example) -> Experiments:
    """Run a network over more images and over larger inputs, an axis at a time."""
    count = example.images + 1
    copied = meta_copy(network)
    runner, subject = (network, example) if copied is None else (copied, example.on_meta())
    images = ShapePass(runner, subject.repeated(count))
    if copied is not None and not images.complete:
        # A branch on a value, or a tensor that is not a buffer, does not run on the meta device.
        runner, subject = network, example
        images = ShapePass(runner, subject.repeated(count))
    axes = subject.axes()
    grown = [((axis,), ShapePass(runner, subject.grown([(axis, length)]))) for axis, length in axes]
    failed = [item for item, (_, seen) in zip(axes, grown, strict=True) if not seen.complete]
    spatial = [item for item in failed if item[0] > 1]
    passes: list[tuple[tuple[int, ...], ShapePass]] = [*grown]
    if len(spatial) > 1:
        # Some networks accept square inputs only.
        passes.append((tuple(axis for axis, _ in spatial), ShapePass(runner, subject.grown(spatial))))
    if len(example.input_size) > 2:
        # By convention the first of three axes holds the channels, which could look spatial before the first layer.
        passes = [item for item in passes if item[1].complete or item[0] != (1,)]
    return Experiments(images, count, tuple(passes))


def experiment_inside(module: nn.Module, args: Example) -> Experiments | None:
    """Run one module over more images and larger inputs; None if that does not separate channels from space.

    Only weights fix the number of channels; a module that accepts any length along every axis has none.
    """
    copied = meta_copy(module)
    if copied is None:
        return None
    found = experiment(copied, args)
    return found if set(found.extents) != {axis for axis, _ in args.axes()} else None
