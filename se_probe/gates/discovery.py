"""Finds the gates of any network in one dry forward pass, by what it multiplies and not by class names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.naming import block_of, family_of, number_blocks, strides, unique_names
from se_probe.gates.site import GateSite, HookPoint
from se_probe.trace.dry_pass import default_input_size, dry_pass, unwrap
from se_probe.trace.operation import Operation, Product
from se_probe.trace.products import Event, Trace, trace

# Factors that scale a feature map by its own norm are no attention maps.
NORMALISING = {"rsqrt", "reciprocal"}
# Softmax weights sum to one up to rounding, which is coarse in half precision.
SUM_TOLERANCE = 1e-2


class NoGatesError(SeProbeError):
    """The network multiplies no feature map by a data-dependent factor without spatial extent."""


@dataclass(frozen=True)
class SpatialMap:
    """A data-dependent factor with spatial extent (spatial attention): seen, not recorded.

    Attributes:
        module: path of the module that multiplies.
        count: how many such products it makes in one forward pass.
    """

    module: str
    count: int


@dataclass(frozen=True)
class Discovery:
    """What one dry pass found in a network.

    Attributes:
        sites: the gates, in network order.
        spatial_maps: factors with spatial extent, which are not recorded.
        input_size: size of the dry pass's input without the image axis.
    """

    sites: tuple[GateSite, ...]
    spatial_maps: tuple[SpatialMap, ...]
    input_size: tuple[int, ...]


def find_gates(network: nn.Module, input_size: Sequence[int] | None = None) -> list[GateSite]:
    """Return every place where a network multiplies a feature map by a gate, in network order.

    Args:
        network: any network; it is left as it was, in its training mode and without hooks.
        input_size: `(3, H, W)` of its input, taken from its timm configuration by default, else (3, 224, 224).

    Raises:
        NoGatesError: the network has no gates.
        SeProbeError: the dry pass failed, or the network cannot be watched.

    Source: SENet (arXiv 1709.01507), section 3; SKNet (1903.06586), section 3.1; ResNeSt (2004.08955).
    """
    discovery = discover(network, input_size)
    require_gates(type(network).__name__, discovery)
    return list(discovery.sites)


def require_gates(name: str, discovery: Discovery) -> None:
    """Raise NoGatesError, saying what was looked for, where a network (called `name`) has no gates."""
    if not discovery.sites:
        maps = sum(item.count for item in discovery.spatial_maps)
        spatial = f"; spatial maps multiply in {maps} places" if maps else ""
        raise NoGatesError(
            f"{name} has no gates: no feature map is multiplied by a factor that depends on the "
            f"input and has channels but no spatial extent{spatial}; choose a gated network (see se-probe models)."
        )


def discover(network: nn.Module, input_size: Sequence[int] | None = None) -> Discovery:
    """Find gates and count spatial maps; a network without gates gives an empty list of sites.

    Args and Raises as in `find_gates`.
    """
    network = unwrap(network)
    size = tuple(input_size or default_input_size(network))
    watched = dry_pass(network, size, trace)
    gates = [event for event in watched.events if event.geometry.kind == "channel"]
    return Discovery(tuple(_sites(network, watched, gates, size)), _spatial_maps(watched.events), size)


def _spatial_maps(events: Sequence[Event]) -> tuple[SpatialMap, ...]:
    modules = Counter(
        event.calls[-1].module
        for event in events
        if event.geometry.kind == "spatial" and event.lineage.operation not in NORMALISING
    )
    return tuple(SpatialMap(module, count) for module, count in modules.items())


@dataclass(frozen=True)
class _Gate:
    """The products of one site with their canonical form: `values` is `(image, channel)` or with branches."""

    events: tuple[Event, ...]
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    values: torch.Tensor

    @property
    def branches(self) -> int:
        return self.shape[0] if len(self.shape) == 2 else 1


def _sites(
    network: nn.Module, watched: Trace, events: Sequence[Event], input_size: tuple[int, ...]
) -> Iterator[GateSite]:
    gates = [gate for _, calls in groupby(events, lambda event: id(event.calls[-1])) for gate in _gates(list(calls))]
    modules = [network.get_submodule(gate.events[0].calls[-1].module) for gate in gates]
    families = [family_of(g.events, m, g.branches) for g, m in zip(gates, modules, strict=True)]
    blocks = [block_of(network, gate.events[0]) for gate in gates]
    places = [strides(gate.events[0], block, input_size) for gate, block in zip(gates, blocks, strict=True)]
    numbers = number_blocks([stage for _, stage in places], blocks)
    names = unique_names(
        [
            f"{family.prefix}_{stage}_{number}"
            for family, (_, stage), number in zip(families, places, numbers, strict=True)
        ]
    )
    for gate, family, (stride, stage), number, name in zip(gates, families, places, numbers, names, strict=True):
        _check(name, gate)
        channels = gate.shape[-1]
        width = gate.events[0].lineage.width
        yield GateSite(
            name=name,
            module=gate.events[0].calls[-1].module,
            family=family.label,
            stage=stage,
            block=number,
            stride=stride,
            channels=channels,
            branches=gate.branches,
            activation=_activation(gate),
            reduction=channels / width if width and width < channels else None,
            kernels=_kernels(gate),
            hook_point=_tap(gate, watched),
        )


def _gates(events: list[Event]) -> list[_Gate]:
    """Read the gates of one module call; products whose factors sum to one are the branches of one gate."""
    gates = [_gate(event) for event in events]
    if len(gates) > 1 and len({gate.shape for gate in gates}) == 1 and gates[0].branches == 1:
        stacked = torch.stack([gate.values for gate in gates], dim=1)
        if _sums_to_one(stacked, 1, events[0]):
            return [_Gate(tuple(events), gates[0].axes, tuple(stacked.shape[1:]), stacked)]
    return gates


def _gate(event: Event) -> _Gate:
    kept, values = event.geometry.kept, event.values
    competitors = event.lineage.competitors
    if len(kept) == 1:
        flat = values.shape[1]
        if competitors and competitors < flat and flat % competitors == 0:
            branched = values.reshape(values.shape[0], competitors, -1)
            if _sums_to_one(branched, 1, event):
                return _Gate((event,), kept, tuple(branched.shape[1:]), branched)
        return _Gate((event,), kept, (flat,), values)
    branch = next((axis for axis in kept if _competes(event, axis)), None)
    rest = tuple(axis for axis in kept if axis != branch)
    channels = math.prod(event.feature_shape[axis] for axis in rest)
    axes = rest if branch is None else (branch, *rest)
    shape = (channels,) if branch is None else (event.feature_shape[branch], channels)
    order = [1 + kept.index(axis) for axis in axes]
    return _Gate((event,), axes, shape, values.permute(0, *order).reshape(values.shape[0], *shape))


def _competes(event: Event, axis: int) -> bool:
    """Whether branches along an axis compete: their weights sum to one, or the network sums them up."""
    return axis in event.summed or _sums_to_one(event.values, 1 + event.geometry.kept.index(axis), event)


def _sums_to_one(values: torch.Tensor, dim: int, event: Event) -> bool:
    if values.is_meta:
        return event.lineage.competitors == values.shape[dim]
    total = values.double().sum(dim)
    return bool(torch.allclose(total, torch.ones_like(total), rtol=0, atol=SUM_TOLERANCE))


def _activation(gate: _Gate) -> str:
    activation = gate.events[0].lineage.activation
    if activation != "softmax":
        return activation or "unbounded"
    return "softmax over branches" if gate.branches > 1 else "softmax over channels"


def _kernels(gate: _Gate) -> tuple[int, ...]:
    """Return the extent of each branch's convolution, empty where they cannot be told apart."""
    kernels = tuple(kernel for event in gate.events for kernel in event.feature_lineage.kernels)
    return kernels if gate.branches > 1 and len(kernels) == gate.branches else ()


def _check(name: str, gate: _Gate) -> None:
    """Hold the canonical gate against the products that the network made."""
    for event in gate.events:
        if not event.exact:
            raise RuntimeError(
                f"{name} in {event.calls[-1].module!r}: feature map times gate differs from the network's own "
                "product; this is a defect of se-probe, please report the network."
            )


def _tap(gate: _Gate, watched: Trace) -> HookPoint:
    """HookPoint a module whose output is the gate, the innermost one, else the multiplications."""
    first = gate.events[0]
    source = next((call for call, output in first.sources if _is_gate(output, gate)), None)
    call = source or first.calls[-1]
    return HookPoint(
        kind="product" if source is None else "output",
        module=call.module,
        call=call.index,
        calls=watched.calls[call.module],
        shape=gate.shape,
        products=tuple(
            Product(e.operation, e.index, e.operand, gate.axes, len(e.feature_shape), e.origins) for e in gate.events
        ),
        products_in_call=first.calls[-1].products,
        product_call=first.calls[-1].index,
        product_calls=watched.calls[first.calls[-1].module],
        logit=_of_width(first.lineage.bounded_by, math.prod(gate.shape)),
        squeeze=_of_width(first.lineage.squeezed_by, gate.shape[-1]),
        operations=tuple(watched.operations.items()),
    )


def _of_width(found: tuple[Operation, int] | None, units: int) -> Operation | None:
    """Return an operation where it has a unit for each of the gate's, else None."""
    return found[0] if found is not None and found[1] == units else None


def _is_gate(output: torch.Tensor, gate: _Gate) -> bool:
    if output.shape[0] != gate.values.shape[0] or output.numel() != gate.values.numel():
        return False
    return output.is_meta or torch.equal(output.reshape(gate.values.shape), gate.values)
