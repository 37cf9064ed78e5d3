"""Operations and products of a forward pass, and how a factor is read from a product and replaced."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

# Positions of the two multiplied operands; einsum and matmul become bmm.
PRODUCTS = {"mul": (0, 1), "addcmul": (1, 2), "bmm": (0, 1), "baddbmm": (1, 2)}


@dataclass(frozen=True)
class Operation:
    """One elementary operation of a forward pass: the `index`-th of that name, from 0."""

    name: str
    index: int


@cache
def operation_name(func: Any) -> str:
    """Return an operation's name without its overload and without the underscore of its in-place form."""
    return str(func.overloadpacket.__name__).rstrip("_")


def _described(origin: Operation | None) -> str:
    if origin is None:
        return "outside of the call"
    return f"argument {origin.index}" if origin.name == "argument" else f"{origin.name} number {origin.index + 1}"


@dataclass(frozen=True)
class Product:
    """One multiplication inside a module call, and how its factor is read."""

    operation: Operation  # the operation of the forward pass
    index: int  # position among the products of the module call, submodules included, from 0
    operand: int  # position of the factor among the arguments
    # Axes of the factor that carry the gate, in canonical order; all others but `image_axis` are broadcast.
    axes: tuple[int, ...]
    rank: int  # number of axes of the factor
    origins: tuple[Operation | None, ...]  # origins of the two operands (see `Origins`)
    image_axis: int = 0  # axis of the factor that the images are on
    # Shape in which the factor is read, -1 for the images, because matrix products (einsum, matmul) join the images
    # with other axes; None if it is read unchanged.
    view: tuple[int, ...] | None = None
    written_out: bool = False  # whether the factor repeats its values over space, with memory for each

    @property
    def feature_operand(self) -> int:
        """Position of the feature map among the arguments."""
        first, second = PRODUCTS[self.operation.name]
        return first if self.operand == second else second

    def read(self, args: Sequence[Any], shape: tuple[int, ...]) -> torch.Tensor:
        """Return the gate from the arguments of the multiplication, `(image, *shape)`."""
        return self.gate(args[self.operand], shape)

    def gate(self, factor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the gate from the factor, `(image, *shape)`."""
        return canonical(self._viewed(factor), self.axes, shape, self.image_axis)

    def summed(self, gradient: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the gradient with respect to the gate, `(image, *shape)`: that of the factor, summed over repeats."""
        viewed = self._viewed(gradient)
        others = _broadcast(viewed, self.axes, self.image_axis)
        gradient = viewed.sum(others, keepdim=True) if others else viewed
        return canonical(gradient, self.axes, shape, self.image_axis)

    def replace(self, args: tuple[Any, ...], gate: torch.Tensor) -> tuple[Any, ...]:
        """Return the arguments of the multiplication with a gate `(image, …)` in place of the factor's values."""
        factor: torch.Tensor = args[self.operand]
        made = factor_like(self._viewed(factor), self.axes, gate, self.image_axis)
        if self.view is not None:
            made = _empty_like(factor).copy_(made.reshape(factor.shape))
        return *args[: self.operand], made, *args[self.operand + 1 :]

    def _viewed(self, factor: torch.Tensor) -> torch.Tensor:
        return factor if self.view is None else factor.reshape(self.view)

    def difference(
        self, name: str, args: Sequence[Any], origins: tuple[Operation | None, ...], shape: tuple[int, ...]
    ) -> str | None:
        """Return how a multiplication of another pass differs from this product, None if it is the same one.

        Names, shapes and strides are compared, so that nothing waits for the device.
        """
        if name != self.operation.name:
            return f"the operation is {name}, not {self.operation.name}"
        if origins != self.origins:
            found, expected = (" and ".join(map(_described, item)) for item in (origins, self.origins))
            return f"its operands come from {found}, not from {expected}"
        factor: torch.Tensor = args[self.operand]
        if factor.dim() != self.rank or not self._carries(factor, math.prod(shape)):
            return f"its factor has shape {tuple(factor.shape)}, which does not carry a gate of shape {shape}"
        return None

    def _carries(self, factor: torch.Tensor, values: int) -> bool:
        """Whether a factor can have that many values per image along the gate's axes, and is constant along others."""
        if self.view is not None:
            return factor.numel() % math.prod(self.view) == 0
        if max(self.axes, default=0) >= factor.dim() or math.prod(factor.shape[axis] for axis in self.axes) != values:
            return False
        others = _broadcast(factor, self.axes, self.image_axis)
        return self.written_out or not any(factor.shape[axis] > 1 and factor.stride(axis) != 0 for axis in others)


def canonical(factor: torch.Tensor, axes: tuple[int, ...], shape: tuple[int, ...], image_axis: int = 0) -> torch.Tensor:
    """Return a factor as `(image, channel)` or `(image, branch, channel)`.

    Args:
        factor: the factor of a multiplication, constant along all axes except `axes` and the image axis.
        axes: axes that carry the gate, the branch axis first if there is one.
        shape: canonical shape without the image axis; groups of channels are joined into it.
        image_axis: axis of the images.

    Returns:
        A view of `factor` where its strides allow one.
    """
    others = _broadcast(factor, axes, image_axis)
    first: tuple[Any, ...] = (..., *(0 for _ in others))
    kept = factor.permute(image_axis, *axes, *others)[first]
    return kept.reshape(kept.shape[0], *shape)


def factor_like(factor: torch.Tensor, axes: tuple[int, ...], gate: torch.Tensor, image_axis: int = 0) -> torch.Tensor:
    """Return a gate in the shape, strides, dtype and device of a factor: the inverse of `canonical`.

    Strides are kept so that the network's next operations run as before.
    """
    made = _empty_like(factor)
    others = _broadcast(factor, axes, image_axis)
    target = made.permute(image_axis, *axes, *others)
    kept = 1 + len(axes)
    for axis in range(kept, target.dim()):
        # An expanded view has one element along the axis, a factor that is written out has one for each position.
        target = target.narrow(axis, 0, 1) if target.stride(axis) == 0 else target
    target.copy_(gate.reshape(*target.shape[:kept], *(1 for _ in others)))
    return made


def _empty_like(factor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(factor.shape, factor.stride(), dtype=factor.dtype, device=factor.device)


def _broadcast(factor: torch.Tensor, axes: tuple[int, ...], image_axis: int) -> list[int]:
    return [axis for axis in range(factor.dim()) if axis != image_axis and axis not in axes]
