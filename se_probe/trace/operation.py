"""Operations and products of a forward pass, and how a factor is read from a product and put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Operation:
    """One elementary operation of a forward pass: the `index`-th of that name, from 0."""

    name: str
    index: int


@dataclass(frozen=True)
class Product:
    """One multiplication inside a module call, and how its factor is read.

    The last four attributes identify the product: a later pass whose product differs in one of them multiplies by
    something else than the gate. Lengths that depend on the batch or on the input's extent are None.

    Attributes:
        operation: which operation of the whole forward pass this is.
        index: which product of the module's call this is, from 0, counting those of its submodules.
        operand: position of the factor among the multiplication's arguments.
        axes: axes of the factor that carry the gate, in canonical order; all others but `image_axis` are broadcast.
        image_axis: axis of the factor that the images are on.
        view: shape in which the factor is read, -1 for the images; None where it is read as it is. Matrix products
            (einsum, matmul) join the images and other axes.
        factor_shape: shape of the factor.
        feature_shape: shape of the feature map.
        factor_from: name of the operation that computed the factor, views and copies not counted.
        feature_from: name of the operation that computed the feature map.
    """

    operation: Operation
    index: int
    operand: int
    axes: tuple[int, ...]
    image_axis: int = 0
    view: tuple[int, ...] | None = None
    factor_shape: tuple[int | None, ...] = ()
    feature_shape: tuple[int | None, ...] = ()
    factor_from: str | None = None
    feature_from: str | None = None

    def read(self, args: Sequence[Any], shape: tuple[int, ...]) -> torch.Tensor:
        """Return the gate from the arguments of the multiplication, `(image, *shape)`."""
        return canonical(self._viewed(args[self.operand]), self.axes, shape, self.image_axis)

    def replace(self, args: tuple[Any, ...], gate: torch.Tensor) -> tuple[Any, ...]:
        """Return the arguments of the multiplication with a gate `(image, …)` in place of the factor's values."""
        factor: torch.Tensor = args[self.operand]
        made = factor_like(self._viewed(factor), self.axes, gate, self.image_axis)
        if self.view is not None:
            made = torch.empty_strided(factor.shape, factor.stride(), dtype=factor.dtype, device=factor.device).copy_(
                made.reshape(factor.shape)
            )
        return *args[: self.operand], made, *args[self.operand + 1 :]

    def _viewed(self, factor: torch.Tensor) -> torch.Tensor:
        return factor if self.view is None else factor.reshape(self.view)


def canonical(factor: torch.Tensor, axes: tuple[int, ...], shape: tuple[int, ...], image_axis: int = 0) -> torch.Tensor:
    """Return a factor as `(image, channel)` or `(image, branch, channel)`.

    Args:
        factor: the factor of a multiplication, constant along all axes but `axes` and the image axis.
        axes: axes that carry the gate, the branch axis first where there is one.
        shape: canonical shape without the image axis; groups of channels are joined into it.
        image_axis: axis of the images.

    Returns:
        A view of `factor` where its strides allow one.
    """
    kept = _selected(factor, axes, image_axis)
    return kept.reshape(kept.shape[0], *shape)


def factor_like(factor: torch.Tensor, axes: tuple[int, ...], gate: torch.Tensor, image_axis: int = 0) -> torch.Tensor:
    """Return a factor with the values of a gate and with the shape, strides, dtype and device of another factor.

    The inverse of `canonical`. With equal strides the network's next operations run as they would have run.

    Args:
        factor: the factor of a multiplication, constant along all axes but `axes` and the image axis.
        axes: axes that carry the gate, the branch axis first where there is one.
        gate: `(image, …)`, as many values as `factor` has along the image axis and `axes`, in canonical order.
        image_axis: axis of the images.
    """
    made = torch.empty_strided(factor.shape, factor.stride(), dtype=factor.dtype, device=factor.device)
    values = gate.reshape(_selected(made, axes, image_axis).shape).permute(_inverse((image_axis, *axes)))
    target = made
    for axis in _broadcast(factor, axes, image_axis):
        values = values.unsqueeze(axis)
        # An expanded view has one element along the axis; a factor that is written out has a copy for each position.
        target = target.narrow(axis, 0, 1) if factor.stride(axis) == 0 else target
    target.copy_(values.expand(target.shape))
    return made


def _broadcast(factor: torch.Tensor, axes: tuple[int, ...], image_axis: int) -> list[int]:
    return [axis for axis in range(factor.dim()) if axis != image_axis and axis not in axes]


def _selected(factor: torch.Tensor, axes: tuple[int, ...], image_axis: int) -> torch.Tensor:
    """Return the view `(image, *axes)` of a factor, its first values along every other axis."""
    for axis in reversed(_broadcast(factor, axes, image_axis)):
        factor = factor.select(axis, 0)
    in_place = sorted((image_axis, *axes))
    return factor.permute([in_place.index(axis) for axis in (image_axis, *axes)])


def _inverse(axes: tuple[int, ...]) -> list[int]:
    """Return the permutation that puts values with axes in canonical order back into the factor's order."""
    return [axes.index(axis) for axis in sorted(axes)]
