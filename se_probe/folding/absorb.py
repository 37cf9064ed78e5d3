"""Absorb a constant factor per channel into the layer before it or the layer after it.

Both are found by the data flow of a real pass. Up to the layer, nothing else may read the scaled tensor, and every
operation f in between must satisfy f(c·x) = c·f(x); for a ReLU that needs c ≥ 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from se_probe.folding.rebuild import RebuildError
from se_probe.trace.flow import Flow, Operand, Step

# Layers with a scale and a shift for each channel: positions of weight and bias among the operation's arguments.
NORMS = {
    "native_batch_norm": (1, 2),
    "_native_batch_norm_legit_no_training": (1, 2),
    "cudnn_batch_norm": (1, 2),
    "miopen_batch_norm": (1, 2),
    "native_group_norm": (1, 2),
    "native_layer_norm": (2, 3),
}
# Layers that mix channels: positions of input, weight and bias.
MIXERS = {"convolution": (0, 1, 2), "addmm": (1, 2, 0), "mm": (0, 1, None)}
# Operations that commute with a factor of 0 or more for each channel.
HOMOGENEOUS = {"relu", "leaky_relu", "clone"}


class RefusedError(RebuildError):
    """A site cannot be folded; the message is the reason, shown beside the site."""


@dataclass(frozen=True)
class Scaling:
    """A parameter and its factor, which broadcasts against it."""

    parameter: str
    factor: torch.Tensor


def absorb_before(flow: Flow, operand: Operand, factor: torch.Tensor, reader: Step) -> tuple[Scaling, ...]:
    """Return how the layers that compute a tensor absorb the factor by which `reader` multiplies it.

    Raise RefusedError if they cannot.

    Args:
        flow: the pass.
        operand: the tensor.
        factor: broadcasts against it; length 1 along the image axis and wherever it does not vary.
        reader: the only operation that may read the tensor.
    """
    _check_sole(flow, operand, [reader])
    step = flow.writer(operand.value)
    if step is None:
        raise RefusedError("the network's input is multiplied")
    if step.name in NORMS or step.name in MIXERS:
        return _scale_outputs(flow, step, factor.reshape(-1))
    if step.name in HOMOGENEOUS:
        _check_sign(step, factor)
        return absorb_before(flow, step.args[0], factor, step)
    if step.name in {"stack", "cat"} and step.outputs[0].size == operand.size:
        return _into_parts(flow, step, factor)
    raise RefusedError(f"{step.name} computes what is multiplied")


def absorb_after(flow: Flow, operand: Operand, factor: torch.Tensor) -> tuple[Scaling, ...]:
    """Return how the layer that reads a product absorbs its factor; arguments and errors as in `absorb_before`."""
    readers = flow.read_by(operand.value)
    if len(readers) != 1:
        raise RefusedError(f"{len(readers)} operations read the product")
    (step,) = readers
    _check_sole(flow, operand, readers)
    if step.name in MIXERS:
        return (_scale_inputs(flow, step, operand, factor.reshape(-1)),)
    if step.name in HOMOGENEOUS:
        _check_sign(step, factor)
        return absorb_after(flow, step.outputs[0], factor)
    raise RefusedError(f"{step.name} reads the product")


def _check_sole(flow: Flow, operand: Operand, readers: Sequence[Step]) -> None:
    """Refuse a tensor that anything but `readers` reads."""
    others = [step.name for step in flow.read_by(operand.value) if not any(step is reader for reader in readers)]
    if others:
        raise RefusedError(f"{', '.join(dict.fromkeys(others))} reads what is scaled as well")
    if operand.value.storage in flow.returned:
        raise RefusedError("the network returns what is scaled")
    if not operand.whole:
        raise RefusedError("only a part of a tensor is scaled")


def _check_sign(step: Step, factor: torch.Tensor) -> None:
    if step.name != "clone" and bool((factor < 0).any()):
        raise RefusedError(f"negative constants do not pass {step.name}")


def _into_parts(flow: Flow, step: Step, factor: torch.Tensor) -> tuple[Scaling, ...]:
    """Scale each part of a stack or a concatenation by its own part of the factor."""
    parts: list[Operand] = list(step.args[0])
    axis = (step.args[1] if len(step.args) > 1 else 0) % factor.dim()
    if len({part.value for part in parts}) != len(parts):
        raise RefusedError(f"{step.name} takes one tensor more than once")
    sizes = [1 if step.name == "stack" else part.size[axis] for part in parts]
    shape = [-1] * factor.dim()
    shape[axis] = sum(sizes)
    factors = factor.expand(shape).split(sizes, axis)
    if step.name == "stack":
        factors = tuple(item.squeeze(axis) for item in factors)
    scalings = (absorb_before(flow, part, item, step) for part, item in zip(parts, factors, strict=True))
    return tuple(chain.from_iterable(scalings))


def _scale_outputs(flow: Flow, step: Step, vector: torch.Tensor) -> tuple[Scaling, ...]:
    is_norm = step.name in NORMS
    weight_at, bias_at = NORMS[step.name] if is_norm else MIXERS[step.name][1:]
    weight = step.args[weight_at]
    name = _parameter(flow, step, weight, "scale" if is_norm else "weight")
    axis = 0 if is_norm else _output_axis(step)
    _check_length(vector, weight.size[1 if step.name in {"addmm", "mm"} else 0], step)
    scaled = Scaling(name, vector.reshape([-1 if index == axis else 1 for index in range(len(weight.size))]))
    bias = None if bias_at is None else step.args[bias_at]
    if bias is None:
        return (scaled,)
    name = _parameter(flow, step, bias, "bias")
    _check_length(vector, bias.size[-1], step)
    return scaled, Scaling(name, vector)


def _scale_inputs(flow: Flow, step: Step, operand: Operand, vector: torch.Tensor) -> Scaling:
    input_at, weight_at, _ = MIXERS[step.name]
    taken, weight = step.args[input_at], step.args[weight_at]
    if not isinstance(taken, Operand) or taken.value != operand.value or not taken.whole:
        raise RefusedError(f"{step.name} does not take the product as its input")
    name = _parameter(flow, step, weight, "weight")
    axis = _output_axis(step)
    if step.name != "convolution":
        _check_length(vector, weight.size[0], step)
        return Scaling(name, vector.reshape((1, -1) if axis == 0 else (-1, 1)))
    outputs, inputs, *extent = weight.size
    groups = int(step.args[8])
    _check_length(vector, inputs * groups, step)
    factor = vector.reshape(groups, 1, inputs).expand(groups, outputs // groups, inputs)
    return Scaling(name, factor.reshape(outputs, inputs, *(1 for _ in extent)))


def _output_axis(step: Step) -> int:
    """Return the axis of a mixer's parameter that runs over output channels."""
    if step.name == "convolution":
        if step.args[6]:
            raise RefusedError("a transposed convolution is not scaled")
        return 0
    weight = step.args[MIXERS[step.name][1]]
    # `mm` takes (input, output); a linear layer keeps (output, input) and hands over its transposed view.
    return 0 if weight.stride[0] == 1 and weight.stride[1] == weight.size[0] else 1


def _parameter(flow: Flow, step: Step, operand: Any, role: str) -> str:
    """Return the name of a parameter that nothing but this operation uses."""
    if not isinstance(operand, Operand):
        raise RefusedError(f"{step.name} has no {role} to scale")
    names = flow.parameters.get(operand.value.storage, [])
    if not names or operand.value.version or not operand.whole:
        raise RefusedError(f"the {role} of {step.name} is computed, not a parameter")
    if len(names) > 1 or len(flow.read_by(operand.value)) > 1:
        raise RefusedError(f"the {role} of {step.name} is shared ({', '.join(names)})")
    return names[0]


def _check_length(vector: torch.Tensor, length: int, step: Step) -> None:
    if len(vector) != length:
        raise RefusedError(f"{step.name} has {length} channels and the gate {len(vector)}")
