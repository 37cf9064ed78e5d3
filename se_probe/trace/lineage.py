"""History of a tensor that depends on the input: how it was squeezed, mixed and bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from se_probe.trace.operation import Operation

# Operations that bound a gate, by the name that GateSite.activation states.
BOUNDING = {"sigmoid": "sigmoid", "hardsigmoid": "hard-sigmoid", "_softmax": "softmax", "tanh": "tanh"}
# A hard sigmoid is also written relu6(x + 3) / 6 and clamp(x / 6 + 0.5, 0, 1).
CLAMPED = "clamped"
MIXING = {"convolution": "convolution", **dict.fromkeys(("addmm", "mm", "bmm", "baddbmm"), "linear")}
COPYING = {"clone", "_to_copy", "copy", "cat", "stack", "repeat", "index_select", "gather", "split_copy"}
SCALING = {"mul", "div", "add", "sub"}


@dataclass(frozen=True)
class Lineage:
    """History of a storage that depends on the input."""

    operation: str | None = None  # last operation that computed it; of copies only "stack" and "cat" count
    activation: str | None = None  # last bounding function, "scaled X" after an affine map of one, None if unbounded
    competitors: int | None = None  # length of the axis of a softmax
    squeezed: bool = False  # whether it has had no spatial extent since the squeeze
    width: int | None = None  # narrowest layer output since the squeeze, in units; None before the first layer
    # Kinds of layers since the squeeze: "convolution", "channel convolution", "linear".
    mixing: frozenset[str] = frozenset()
    # The operation that bounded it, if `activation` names one, and the number of its units.
    bounded_by: tuple[Operation, int] | None = None
    # The operation that removed its spatial extent, and the number of its units. If several squeezes were joined before
    # the first layer, the operation that joined them; None if they were joined later.
    squeezed_by: tuple[Operation, int] | None = None
    # Extents of the last spatial convolution, (k - 1) * dilation + 1; one for each part of a stack, empty if a part has
    # several.
    kernels: tuple[int, ...] = ()
    activated_by: Operation | None = None  # the bounding operation that `activation` names, also after affine maps
    complement: bool = False  # whether it is 1 minus the output of the bounding operation


def derive(
    at: Operation, args: Sequence[Any], inputs: Sequence[tuple[torch.Tensor, Lineage]], output: torch.Tensor
) -> Lineage:
    """Return the lineage of an operation's output.

    Args:
        inputs: its tensors that depend on the network's input, with their lineage.
    """
    name, lineages = at.name, [lineage for _, lineage in inputs]
    bounded = _bounded(at, args, lineages, output)
    is_flat = sum(size > 1 for size in output.shape[1:]) <= 1
    squeezed = is_flat or all(lineage.squeezed for lineage in lineages)
    copied = name in COPYING and name not in {"cat", "stack"}
    operation = lineages[0].operation if copied else name
    if not squeezed:
        return replace(bounded, operation=operation, kernels=_kernels(name, args, lineages))
    widths = [lineage.width for lineage in lineages if lineage.width is not None]
    lineage = replace(
        bounded,
        operation=operation,
        squeezed=True,
        width=min(widths, default=None),
        mixing=frozenset().union(*(lineage.mixing for lineage in lineages)),
        squeezed_by=_squeezed_by(lineages, (at, _units(output))),
    )
    return _mixed(lineage, name, inputs[0][0], output) if name in MIXING and lineages[0].squeezed else lineage


def _units(tensor: torch.Tensor) -> int:
    return tensor.numel() // max(1, tensor.shape[0] if tensor.dim() else 1)


def _bounded(at: Operation, args: Sequence[Any], lineages: Sequence[Lineage], output: torch.Tensor) -> Lineage:
    """Return the part of an operation's lineage that concerns bounding functions."""
    name, first = at.name, lineages[0]
    activation = _activation(name, args, lineages)
    if name in BOUNDING:
        competitors = output.shape[args[1]] if activation == "softmax" else None
        return Lineage(activation=activation, competitors=competitors, bounded_by=(at, _units(output)), activated_by=at)
    if activation is None or name in {"hardtanh", "clamp"}:
        return Lineage(activation=activation)
    one = len({lineage.activated_by for lineage in lineages}) == 1
    return Lineage(
        activation=activation,
        competitors=first.competitors,
        bounded_by=first.bounded_by if name in COPYING and activation in BOUNDING.values() else None,
        activated_by=first.activated_by if one else None,
        complement=first.complement != (name == "rsub"),
    )


def _squeezed_by(lineages: Sequence[Lineage], here: tuple[Operation, int]) -> tuple[Operation, int] | None:
    """Return the operation whose output the gate is computed from, None if several squeezes were joined late."""
    squeezed = [lineage for lineage in lineages if lineage.squeezed]
    if len({lineage.squeezed_by for lineage in squeezed}) > 1:
        return here if all(not lineage.mixing and lineage.squeezed_by for lineage in squeezed) else None
    return squeezed[0].squeezed_by if squeezed else here


def _kernels(name: str, args: Sequence[Any], lineages: Sequence[Lineage]) -> tuple[int, ...]:
    if name == "convolution" and max(args[1].shape[2:]) > 1:
        return (max((size - 1) * dilation + 1 for size, dilation in zip(args[1].shape[2:], args[5], strict=True)),)
    if name in {"stack", "cat"}:
        parts = [set(lineage.kernels) for lineage in lineages]
        return tuple(part.pop() for part in parts) if all(len(part) == 1 for part in parts) else ()
    return lineages[0].kernels


def _mixed(lineage: Lineage, name: str, source: torch.Tensor, output: torch.Tensor) -> Lineage:
    """Account for a layer. A convolution that slides over channels (ECA) is not a layer of C units."""
    slides = name == "convolution" and source.dim() == 3 and source.shape[1] == 1 and source.shape[2] > 1
    kind = "channel convolution" if slides else MIXING[name]
    narrowest = min(_units(output), lineage.width or math.inf)
    return replace(lineage, width=int(narrowest), mixing=lineage.mixing | {kind})


def _activation(name: str, args: Sequence[Any], lineages: Sequence[Lineage]) -> str | None:
    before = {lineage.activation for lineage in lineages}
    known = before.pop() if len(before) == 1 else None
    if name in BOUNDING:
        return BOUNDING[name]
    if name in {"hardtanh", "clamp"}:
        low, high = (*args[1:3], None, None)[:2]
        clamped = low == 0 and high is not None
        return None if not clamped else "hard-sigmoid" if high == 1 else CLAMPED
    if name in COPYING or (name == "rsub" and args[1] == 1):
        return known
    if known is None or name not in SCALING or len(lineages) > 1:
        return None
    if known == CLAMPED:
        return "hard-sigmoid"
    return known if known.startswith("scaled") else f"scaled {known}"
