"""Find the gates of any network from its multiplications in a few dry passes, not from class names."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import groupby
from typing import Any

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.branches import Gate, gates_of
from se_probe.gates.candidates import LeftOut, decide
from se_probe.gates.naming import block_of, family_of, strides, unique_names
from se_probe.gates.site import GateSite, HookPoint
from se_probe.trace.dry_pass import default_input_size, example_of, noise_example, unwrap
from se_probe.trace.lineage import Lineage
from se_probe.trace.operation import Operation, Product
from se_probe.trace.products import Event, Trace, trace


class NoGatesError(SeProbeError):
    """The network multiplies no feature map by a data-dependent factor without spatial extent."""


@dataclass(frozen=True)
class SpatialMap:
    """A data-dependent factor with spatial extent (spatial attention), which is found but not recorded.

    Attributes:
        module: path of the module that multiplies.
        count: how many such products it makes in one forward pass.
    """

    module: str
    count: int


class Discovery(list[GateSite]):
    """The sites of a network in network order; a list that prints as a table.

    Attributes:
        left_out: what is not recorded, and why.
        input_size: size of the dry passes' first input without the image axis.
    """

    def __init__(self, sites: Iterable[GateSite], left_out: Sequence[LeftOut], input_size: Sequence[int]) -> None:
        super().__init__(sites)
        self.left_out, self.input_size = tuple(left_out), tuple(input_size)

    @property
    def sites(self) -> tuple[GateSite, ...]:
        """The sites as a tuple."""
        return tuple(self)

    @property
    def spatial_maps(self) -> tuple[SpatialMap, ...]:
        """Factors with spatial extent, by module."""
        return tuple(SpatialMap(item.module, item.count) for item in self.left_out if item.kind == "spatial map")

    def __repr__(self) -> str:
        """Return a table of the sites, and what was left out below it."""
        columns = ("name", "module", "family", "stride", "channels", "branches", "activation", "reduction")
        cells = [columns, *([_cell(getattr(site, column)) for column in columns] for site in self)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        return "\n".join([*rows, *map(str, self.left_out)])


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def find_gates(network: nn.Module, input_size: Sequence[int] | None = None, *, inputs: Any = None) -> Discovery:
    """Return every place where a network multiplies a feature map by a gate, in network order.

    Args:
        network: any network; it is left unchanged, in its training mode and without hooks.
        input_size: `(3, H, W)` of its input; by default that of its timm configuration, else (3, 224, 224).
        inputs: an example of the network's input, for networks that take several inputs, dicts, tokens, audio or
            video: a tensor, a tuple of arguments, or a dict of keyword arguments; images on the first axis.

    Returns:
        A list of sites that prints as a table; `left_out` holds the products that are not gates, and why.

    Raises:
        NoGatesError: the network has no gates.
        SeProbeError: a dry pass failed, the network cannot be watched, or gates cannot be distinguished from other
            products.

    Source: SENet (arXiv 1709.01507), section 3; SKNet (1903.06586), section 3.1; ResNeSt (2004.08955).
    """
    discovery = discover(network, input_size, inputs=inputs)
    require_gates(type(network).__name__, discovery)
    return discovery


def require_gates(name: str, discovery: Discovery) -> None:
    """Raise NoGatesError if a network, called `name` in the message, has no gates."""
    if not discovery:
        counts = Counter(item.kind for item in discovery.left_out for _ in range(item.count))
        seen = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        spatial = f" (left out: {seen})" if seen else ""
        raise NoGatesError(
            f"{name} has no gates: no feature map is multiplied by a factor that depends on the "
            f"input and has channels but no spatial extent{spatial}; choose a gated network (see se-probe models)."
        )


def discover(network: nn.Module, input_size: Sequence[int] | None = None, *, inputs: Any = None) -> Discovery:
    """Find gates as `find_gates` does; for a network without gates the list is empty.

    Args:
        network: as in `find_gates`.
        input_size: as in `find_gates`.
        inputs: as in `find_gates`.
    """
    network = unwrap(network)
    if inputs is None:
        example = noise_example(network, tuple(input_size or default_input_size(network)))
    elif input_size is not None:
        raise SeProbeError(f"both input_size {tuple(input_size)} and inputs were passed; expected one of the two.")
    else:
        example = example_of(network, inputs)
    watched = trace(network, example)
    events, left_out = decide(network, example, watched)
    return Discovery(_sites(network, watched, events, example.input_size), left_out, example.input_size)


def choose_sites(network: nn.Module, sites: Iterable[GateSite | str] | None = None, **example: Any) -> list[GateSite]:
    """Return sites of a network; a dry pass finds those that are given by name or not at all.

    Raise SeProbeError if the network has no site of a name, or no gates were found.

    Args:
        example: `input_size` or `inputs` of the dry pass, as for `find_gates`; None is left out.
    """
    chosen = None if sites is None else list(sites)
    if chosen is not None and not any(isinstance(site, str) for site in chosen):
        return [site for site in chosen if isinstance(site, GateSite)]
    found = find_gates(network, **{name: value for name, value in example.items() if value is not None})
    return found if chosen is None else [_named(item, found) if isinstance(item, str) else item for item in chosen]


def _named(name: str, sites: Sequence[GateSite]) -> GateSite:
    names = [site.name for site in sites]
    if name in names:
        return sites[names.index(name)]
    near = get_close_matches(name, names, n=3, cutoff=0.7)
    expected = f"did you mean {' or '.join(near)}?" if near else f"expected some of {', '.join(names)}."
    raise SeProbeError(f"the network has no site {name!r}; {expected}")


def _sites(network: nn.Module, watched: Trace, events: Iterable[Event], input_size: tuple[int, ...]) -> list[GateSite]:
    """Return the sites of products that multiply by gates, call by call."""
    # If no larger input ran, all axes of the input except the first of several count as spatial.
    extent = tuple(input_size[axis - 1] for axis in watched.experiments.extents) or input_size[1:] or input_size
    numbers: dict[int, dict[int, int]] = defaultdict(dict)
    sites = []
    for _, made in groupby(events, lambda event: id(event.calls[-1])):
        for gate in gates_of(list(made)):
            first = gate.events[0]
            lineage = first.lineage or Lineage()
            module = first.calls[-1].module
            family = family_of(gate.events, network.get_submodule(module), gate.branches)
            block = block_of(network, first)
            stride, stage = strides(first, block, extent)
            # Sites of one block share its number.
            number = numbers[stage].setdefault(id(block), len(numbers[stage]) + 1)
            channels, width = gate.shape[-1], lineage.width
            kernels = tuple(kernel for event in gate.events for kernel in event.feature_lineage.kernels)
            site = GateSite(
                name=f"{family.prefix}_{stage}_{number}",
                module=module,
                family=family.label,
                stage=stage,
                block=number,
                stride=stride,
                channels=channels,
                branches=gate.branches,
                activation=_activation(lineage, gate.branches),
                reduction=channels / width if width and width < channels else None,
                kernels=kernels if 1 < gate.branches == len(kernels) else (),
                hook_point=_hook_point(gate, lineage, watched),
            )
            _check(site, gate)
            sites.append(site)
    names = unique_names([site.name for site in sites])
    return [replace(site, name=name) for site, name in zip(sites, names, strict=True)]


def _activation(lineage: Lineage, branches: int) -> str:
    if lineage.activation != "softmax":
        return lineage.activation or "unbounded"
    return "softmax over branches" if branches > 1 else "softmax over channels"


def _check(site: GateSite, gate: Gate) -> None:
    """Raise RuntimeError if the canonical gate does not reproduce the network's own products."""
    if not all(event.exact for event in gate.events):
        raise RuntimeError(
            f"{site.name} in {site.module!r}: feature map times gate differs from the network's own product; this is a "
            "defect of se-probe, please report the network."
        )


def _hook_point(gate: Gate, lineage: Lineage, watched: Trace) -> HookPoint:
    first = gate.events[0]
    own = first.calls[-1]
    return HookPoint(
        module=next((call for call, output in first.sources if _is_gate(output, gate)), own).module,
        shape=gate.shape,
        products=tuple(_in_order(event, gate.axes) for event in gate.events),
        product_call=own.index,
        product_calls=watched.calls[own.module],
        products_in_call=own.products,
        logit=_of_width(lineage.bounded_by, math.prod(gate.shape)),
        squeeze=_of_width(lineage.squeezed_by, gate.shape[-1]),
        operations=tuple(watched.counts.items()),
    )


def _in_order(event: Event, axes: tuple[int, ...]) -> Product:
    """Return a product whose axes are in canonical order."""
    own = dict(zip(event.geometry.kept, event.product.axes, strict=True))
    return replace(event.product, axes=tuple(own[axis] for axis in axes))


def _of_width(found: tuple[Operation, int] | None, units: int) -> Operation | None:
    """Return an operation if it has a unit for each of the gate's, else None."""
    return found[0] if found is not None and found[1] == units else None


def _is_gate(output: torch.Tensor, gate: Gate) -> bool:
    if output.shape[0] != gate.values.shape[0] or output.numel() != gate.values.numel():
        return False
    return output.is_meta or torch.equal(output.reshape(gate.values.shape), gate.values)
