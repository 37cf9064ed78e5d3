"""Operations and products of a forward pass, and how a factor is read from a product and put back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Operation:
    """One elementary operation of a forward pass: the `index`-th of that name, from 0."""

    name: str
    index: int


def describe_origin(origin: Operation | None) -> str:
    """Return a description of an operand's origin for a message."""
    if origin is None:
        return "outside of the call"
    return f"argument {origin.index}" if origin.name == "argument" else f"{origin.name} number {origin.index + 1}"


@dataclass(frozen=True)
class Product:
    """One multiplication inside a module call, and how its factor is read.

    Attributes:
        operation: which operation of the whole forward pass this is.
        index: which product of the module's call this is, from 0, counting those of its submodules.
        operand: position of the factor among the multiplication's arguments.
        axes: axes of the factor that carry the gate, in canonical order; all the others are broadcast.
        rank: number of axes of the factor.
        origins: what computed the two operands, in the order of the arguments (see `Origins`).
    """

    operation: Operation
    index: int
    operand: int
    axes: tuple[int, ...]
    rank: int
    origins: tuple[Operation | None, ...]

    def read(self, args: Sequence[Any], shape: tuple[int, ...]) -> torch.Tensor:
        """Return the gate from the arguments of the multiplication, `(image, *shape)`."""
        return canonical(args[self.operand], self.axes, shape)

    def replace(self, args: tuple[Any, ...], gate: torch.Tensor) -> tuple[Any, ...]:
        """Return the arguments of the multiplication with a gate `(image, …)` in place of the factor's values."""
        return *args[: self.operand], factor_like(args[self.operand], self.axes, gate), *args[self.operand + 1 :]

    def difference(
        self, name: str, args: Sequence[Any], origins: tuple[Operation | None, ...], shape: tuple[int, ...]
    ) -> str | None:
        """Return how a multiplication differs from this product, None where it is the same one in another pass.

        Only names, shapes and strides are compared, so that nothing waits for the device.

        Args:
            name: name of the operation that multiplies.
            args: its arguments.
            origins: origins of its operands.
            shape: canonical shape of the factor without the image axis.
        """
        if name != self.operation.name:
            return f"the operation is {name}, not {self.operation.name}"
        if origins != self.origins:
            found, expected = (" and ".join(map(describe_origin, item)) for item in (origins, self.origins))
            return f"its operands come from {found}, not from {expected}"
        factor: torch.Tensor = args[self.operand]
        sizes = [factor.shape[axis] for axis in self.axes] if factor.dim() == self.rank else []
        others = [axis for axis in range(1, factor.dim()) if axis not in self.axes]
        spread = any(factor.shape[axis] > 1 and factor.stride(axis) != 0 for axis in others)
        if math.prod(sizes) != math.prod(shape) or not sizes or spread:
            return f"its factor has shape {tuple(factor.shape)}, which does not carry a gate of shape {shape}"
        return None


def canonical(factor: torch.Tensor, axes: tuple[int, ...], shape: tuple[int, ...]) -> torch.Tensor:
    """Return a factor as `(image, channel)` or `(image, branch, channel)`.

    Args:
        factor: the factor of a multiplication, image axis first, broadcast or stride 0 outside `axes`.
        axes: axes that carry the gate, the branch axis first where there is one.
        shape: canonical shape without the image axis; groups of channels are joined into it.

    Returns:
        A view of `factor` where its strides allow one.
    """
    for axis in range(factor.dim() - 1, 0, -1):
        if axis not in axes:
            factor = factor.select(axis, 0)
    in_place_order = sorted(axes)
    order = [1 + in_place_order.index(axis) for axis in axes]
    return factor.permute(0, *order).reshape(factor.shape[0], *shape)


def factor_like(factor: torch.Tensor, axes: tuple[int, ...], gate: torch.Tensor) -> torch.Tensor:
    """Return a factor with the values of a gate and with the shape, strides, dtype and device of another factor.

    The inverse of `canonical`. With equal strides the network's next operations run as they would have run.

    Args:
        factor: the factor of a multiplication, image axis first, broadcast or stride 0 outside `axes`.
        axes: axes that carry the gate, the branch axis first where there is one.
        gate: `(image, …)`, as many values as `factor` has along the image axis and `axes`, in canonical order.
    """
    made = torch.empty_strided(factor.shape, factor.stride(), dtype=factor.dtype, device=factor.device)
    kept = made
    for axis in range(factor.dim() - 1, 0, -1):
        if axis not in axes:
            kept = kept.select(axis, 0)
    in_place_order = sorted(axes)
    kept = kept.permute(0, *(1 + in_place_order.index(axis) for axis in axes))
    kept.copy_(gate.reshape(kept.shape))
    return made
