"""Decide which axes or products of one module call are competing branches, and which are channels or their groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from se_probe.gates.site import GateSite
from se_probe.trace.products import Event

# The weights of competing branches have equal sums, up to rounding, which is coarse in half precision.
SUM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Gate:
    """A gate: its products, its aligned axes in canonical order, and its values in canonical form."""

    events: tuple[Event, ...]
    axes: tuple[int, ...]
    values: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Canonical shape without the image axis."""
        return tuple(self.values.shape[1:])

    @property
    def branches(self) -> int:
        """Number of branches, 1 without any."""
        return self.shape[0] if len(self.shape) == 2 else 1


def gates_of(events: list[Event]) -> list[Gate]:
    """Return the gates of one module call; products whose factors compete are the branches of one gate."""
    rows: dict[Any, list[Gate]] = {}
    for gate in map(_gate, events):
        activated_by = gate.events[0].lineage and gate.events[0].lineage.activated_by
        key = (activated_by, gate.shape) if activated_by and gate.branches == 1 else id(gate)
        rows.setdefault(key, []).append(gate)
    joined = [gate for row in rows.values() for gate in _joined(row)]
    # One number per image scales the whole map; several that compete are a gate over branches.
    return [gate for gate in joined if gate.axes or len(gate.events) > 1]


def _joined(gates: list[Gate]) -> list[Gate]:
    """Join products whose factors come from one softmax over them, or are s and 1 - s, into a gate with branches."""
    lineages = [gate.events[0].lineage for gate in gates]
    softmax = all(item is not None and item.competitors == len(gates) for item in lineages)
    halves = len(gates) == 2 and len({item.complement for item in lineages if item is not None}) == 2
    if len(gates) < 2 or not (softmax or halves):
        return gates
    stacked = torch.stack([gate.values for gate in gates], dim=1)
    if not _adds_up(stacked, 1):
        return gates
    return [Gate(tuple(event for gate in gates for event in gate.events), gates[0].axes, stacked)]


def _gate(event: Event) -> Gate:
    kept, values = event.geometry.kept, event.values
    if not kept:
        return Gate((event,), (), values.unsqueeze(1))
    branch = next((axis for axis in kept if _competes(event, axis)), None)
    if len(kept) == 1:
        if (parts := _parts(event)) > 1:
            values = values.unflatten(1, (parts, -1))
        elif branch is not None and (event.matrices or _has_channels(event)):
            values = values.unsqueeze(2)
        return Gate((event,), kept, values)
    rest = tuple(axis for axis in kept if axis != branch)
    axes = rest if branch is None else (branch, *rest)
    ordered = values.permute(0, *(1 + kept.index(axis) for axis in axes))
    return Gate((event,), axes, ordered.flatten(1 if branch is None else 2))


def _parts(event: Event) -> int:
    """Return the number of branches that share the one axis of a factor, 1 for none."""
    flat = event.values.shape[1]
    competitors = event.lineage.competitors if event.lineage else None
    divides = competitors is not None and competitors < flat and flat % competitors == 0
    if competitors and divides and _adds_up(event.values.reshape(event.values.shape[0], competitors, -1), 1):
        return competitors
    return event.parts


def _has_channels(event: Event) -> bool:
    """Whether the feature map has another axis that is not spatial, so that the gate's axis holds branches."""
    geometry = event.geometry
    return any(event.feature_shape[axis] > 1 for axis in geometry.free if axis not in geometry.space)


def _competes(event: Event, axis: int) -> bool:
    """Whether branches along an axis compete: by a softmax over them, or because the network sums over them."""
    place = 1 + event.geometry.kept.index(axis)
    softmax = event.lineage is not None and event.lineage.competitors == event.values.shape[place]
    return axis in event.summed or (softmax and _adds_up(event.values, place))


def _adds_up(values: torch.Tensor, dim: int) -> bool:
    """Whether all sums along an axis are equal; True on the meta device."""
    if values.is_meta:
        return True
    total = values.double().sum(dim)
    return bool(torch.allclose(total, total.mean().expand_as(total), rtol=SUM_TOLERANCE, atol=0))


def cardinality(network: nn.Module, site: GateSite) -> int | None:
    """Return the number K of cardinal groups of a site's channels, which are ordered by group; None if unknown.

    It is the number of groups of the last 1×1 convolution in the site's module: split attention computes the gates of
    each cardinal group from the channels of that group alone.

    Source: Zhang et al., ResNeSt: Split-Attention Networks, arXiv 2004.08955, section 3.
    """
    module = network.get_submodule(site.module)
    pointwise = [part for part in module.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1)]
    return pointwise[-1].groups if pointwise else None
