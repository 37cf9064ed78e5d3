"""Replace gates by constants, fold the constants into neighbouring layers, and check each step.

The reference is the untouched network with the same constants as gates (`se_probe.gates.intervene`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.utils._pytree import tree_map_only

from se_probe.folding.absorb import RefusedError, Scaling, absorb_after, absorb_before
from se_probe.folding.locate import ProductNode, locate
from se_probe.folding.rebuild import RebuildError, edited
from se_probe.gates import Constant, GateRecorder, GateSite, intervene
from se_probe.gates.discovery import choose_sites
from se_probe.gates.hooks import check_recordable, module_of
from se_probe.gates.site import hook_point_of
from se_probe.trace.flow import Flow, Operand, Value, follow
from se_probe.trace.watching import storage_of, tensors_in

LAYERS, MULTIPLY, REFUSED = "into layers", "fixed multiply", "refused"


@dataclass(frozen=True)
class SiteFold:
    """Outcome of folding at one site.

    Attributes:
        site: its name.
        module: path of the multiplying module.
        how: "into layers" (nothing is left of the gate), "fixed multiply" or "refused" (unchanged).
        layers: layers into which constants were folded.
        reason: why a multiplication remains or the site was refused; "" otherwise.
    """

    site: str
    module: str
    how: str
    layers: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Folded:
    """A network with fixed gates and a record of the changes.

    Attributes:
        network: the network, in evaluation mode; it shares no tensor with the original.
        sites: outcome of each site, in the order given.
        edits: changes of its structure, for `se_probe.folding.rebuild.edited`.
        deviation: deviation of its output on the probe from that of the intervened network (see `deviation`).
    """

    network: nn.Module
    sites: tuple[SiteFold, ...]
    edits: tuple[dict[str, Any], ...]
    deviation: float

    @property
    def fixed(self) -> list[str]:
        """Names of the sites whose gates are constants now."""
        return [item.site for item in self.sites if item.how != REFUSED]


def fold_gates(
    network: nn.Module,
    constants: Mapping[GateSite, ArrayLike] | Mapping[str, ArrayLike],
    batch: torch.Tensor,
    tolerance: float | None = None,
) -> Folded:
    """Return a copy of a network whose gates at some sites are constants, without the layers that computed them.

    A constant is folded into the batch norm, convolution or linear layer before the site, or into the convolution or
    linear layer after it, if the data flow of a real pass allows it. Otherwise the feature map is multiplied by the
    constant. A site that cannot be changed stays as it is, with the reason. The outputs on `batch` must equal those of
    the untouched network with the same constants; a site that breaks this is refused.

    Args:
        network: the network, in evaluation mode; it is not changed.
        constants: site or its name → gate, `(channel,)` or `(branch, channel)`.
        batch: `(image, 3, H, W)`, two images or more on which gates differ, on the network's device.
        tolerance: largest deviation allowed; by default `tolerance_of`, 1e-5 in float32.

    Raises:
        SeProbeError: the network is in training mode or wrapped, or the constants do not fit their sites.
    """
    check_recordable(network)
    sites = choose_sites(network, constants, input_size=batch.shape[1:])
    gates = {site: torch.as_tensor(np.asarray(given)) for site, given in zip(sites, constants.values(), strict=True)}
    for site, gate in gates.items():
        Constant(gate).check(site)
    trial = _Trial(network, batch, tolerance_of(batch.dtype) if tolerance is None else tolerance)
    nodes, refused = _located(network, sites, batch)
    fixes = {site: partial(_fix, site=site, gate=gates[site], nodes=found) for site, found in nodes.items()}
    plan, failed = trial.applied(_Plan(), fixes)
    refused |= failed
    absorbed = _absorbed(trial, plan, {site: nodes[site] for site in plan.sites})
    moves = {site: partial(_move, site=site, scalings=item.scalings) for site, item in absorbed.items()}
    plan, failed = trial.applied(plan, {site: move for site, move in moves.items() if absorbed[site].scalings})
    outcomes = []
    for site in sites:
        if site in refused or site in failed:
            how, reason = (REFUSED, refused[site]) if site in refused else (MULTIPLY, failed[site])
            outcomes.append(SiteFold(site.name, site.module, how, reason=reason))
        else:
            outcomes.append(absorbed[site].outcome(site))
    return Folded(changed_copy(network, plan), tuple(outcomes), plan.edits, trial.deviation(plan))


def tolerance_of(dtype: torch.dtype) -> float:
    """Return the deviation allowed: 84 rounding steps, 1e-5 in float32."""
    return 84 * torch.finfo(dtype).eps


def deviation(outputs: object, reference: object) -> torch.Tensor:
    """Return the largest difference of outputs over the largest absolute value of the reference, on their device."""
    differences, values = [], []
    for first, second in zip(tensors_in(outputs), tensors_in(reference), strict=True):
        dtype = torch.promote_types(second.dtype, torch.float32)
        differences.append((first.to(dtype) - second.to(dtype)).abs().max())
        values.append(second.to(dtype).abs().max())
    difference, scale = torch.stack(differences).max(), torch.stack(values).max()
    return torch.where(scale > 0, difference / scale, difference)


@dataclass(frozen=True)
class _Plan:
    """Planned changes: edits of products by module, buffers by path, scalings of parameters, and constants by site."""

    products: Mapping[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    buffers: Mapping[str, torch.Tensor] = field(default_factory=dict)
    scalings: tuple[Scaling, ...] = ()
    sites: Mapping[GateSite, torch.Tensor] = field(default_factory=dict)

    @property
    def edits(self) -> tuple[dict[str, Any], ...]:
        return tuple({"module": path, "products": list(products)} for path, products in self.products.items())


def changed_copy(network: nn.Module, plan: _Plan) -> nn.Module:
    """Return a changed copy of a network; raise RebuildError if its structure cannot be changed."""
    copied = copy.deepcopy(network)
    for edit in plan.edits:
        copied = edited(copied, edit)
    state = dict(copied.named_parameters()) | dict(copied.named_buffers())
    with torch.no_grad():
        for path, values in plan.buffers.items():
            parent, _, name = path.rpartition(".")
            setattr(copied.get_submodule(parent), name, values.clone())
        for scaling in plan.scalings:
            parameter = state[scaling.parameter]
            parameter.copy_(parameter.cpu().double() * scaling.factor.cpu().double())
    return copied


@dataclass(frozen=True)
class _Trial:
    """Compares changed copies of a network with the intervened network on one batch."""

    network: nn.Module
    batch: torch.Tensor
    tolerance: float

    def deviation(self, plan: _Plan) -> float:
        """Return the deviation of a plan's network; raise RebuildError if it cannot be built or deviates too far."""
        with intervene(self.network, {site: Constant(values.numpy()) for site, values in plan.sites.items()}):
            reference = self.network(self.batch)
        try:
            with torch.no_grad():
                found = float(deviation(changed_copy(self.network, plan)(self.batch), reference))
        except (RuntimeError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise RefusedError(f"the changed network does not run ({error})") from error
        if not found <= self.tolerance:
            raise RefusedError(
                f"outputs deviate by {found:.1e} from the intervened network's, {self.tolerance:.0e} is allowed"
            )
        return found

    def applied(
        self, plan: _Plan, changes: Mapping[GateSite, Callable[[_Plan], _Plan]]
    ) -> tuple[_Plan, dict[GateSite, str]]:
        """Return the plan with every change that holds, and the reasons of the others; all are tried together first."""
        refused: dict[GateSite, str] = {}
        try:
            whole = reduce(lambda grown, change: change(grown), changes.values(), plan)
            self.deviation(whole)
            return whole, refused
        except RebuildError:
            pass
        for site, change in changes.items():
            try:
                grown = change(plan)
                self.deviation(grown)
                plan = grown
            except RebuildError as refusal:
                refused[site] = str(refusal)
        return plan, refused


def _located(
    network: nn.Module, sites: Sequence[GateSite], batch: torch.Tensor
) -> tuple[dict[GateSite, list[ProductNode]], dict[GateSite, str]]:
    """Return the multiplications of each site, and the reasons of sites where they are not found."""
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def catch(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], path: str) -> None:
        calls[path] = tree_map_only(torch.Tensor, torch.clone, (args, kwargs))

    with ExitStack() as hooks, torch.no_grad(), GateRecorder(network, sites) as recorder:
        for path in {site.module for site in sites}:
            hook = partial(catch, path=path)
            hooks.callback(module_of(network, path).register_forward_pre_hook(hook, with_kwargs=True).remove)
        network(batch)
        gates = recorder.gates
    nodes, refused = {}, {}
    for site in sites:
        times = hook_point_of(site).product_calls
        try:
            if times != 1:
                raise RefusedError(f"its module {site.module!r} is called {times} times in a pass")
            nodes[site] = locate(module_of(network, site.module), calls[site.module], site, gates[site.name])
        except RebuildError as refusal:
            refused[site] = str(refusal)
    return nodes, refused


def _fix(plan: _Plan, site: GateSite, gate: torch.Tensor, nodes: Sequence[ProductNode]) -> _Plan:
    """Replace a site's factors by constants."""
    before = plan.products.get(site.module, ())
    edits, buffers = [], {}
    for number, (node, part) in enumerate(zip(nodes, [gate] if len(nodes) == 1 else gate, strict=True), len(before)):
        values, name = node.constant(part), f"fixed_gate_{number}"
        facts = {"shape": list(values.shape), "dtype": str(values.dtype).removeprefix("torch.")}
        edits.append({"node": node.node, "operand": node.operand, "buffer": name, **facts})
        buffers[_path(site, name)] = values
    products = {**plan.products, site.module: (*before, *edits)}
    return replace(plan, products=products, buffers={**plan.buffers, **buffers}, sites={**plan.sites, site: gate})


def _path(site: GateSite, buffer: str) -> str:
    return f"{site.module}.{buffer}".removeprefix(".")


@dataclass
class _Absorbed:
    """How layers absorb a site's constants: scalings by the path of a constant's buffer, and reasons where none can."""

    scalings: dict[str, tuple[Scaling, ...]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def outcome(self, site: GateSite) -> SiteFold:
        names = (scaling.parameter for scalings in self.scalings.values() for scaling in scalings)
        layers = tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))
        how = MULTIPLY if self.left else LAYERS
        return SiteFold(site.name, site.module, how, layers, "; ".join(dict.fromkeys(self.left)))


def _absorbed(trial: _Trial, plan: _Plan, nodes: Mapping[GateSite, Sequence[ProductNode]]) -> dict[GateSite, _Absorbed]:
    """Find the layers of the network with fixed gates that can absorb each site's constants."""
    changed = changed_copy(trial.network, plan)
    flow = follow(changed, trial.batch)
    absorbed: dict[GateSite, _Absorbed] = {}
    for site, found in nodes.items():
        buffers = {item["node"]: item["buffer"] for item in plan.products[site.module]}
        absorbed[site] = _Absorbed()
        for node in found:
            path = _path(site, buffers[node.node])
            try:
                absorbed[site].scalings[path] = _scalings(flow, changed.get_buffer(path), node)
            except RefusedError as refusal:
                absorbed[site].left.append(str(refusal))
    return absorbed


def _scalings(flow: Flow, buffer: torch.Tensor, node: ProductNode) -> tuple[Scaling, ...]:
    """Return how the layers before or after a product absorb its constant."""
    if not node.plain:
        raise RefusedError(f"{node.node} does more than multiply")
    constant = Value(storage_of(buffer), 0)
    steps = flow.read_by(constant)
    if len(steps) != 1 or steps[0].name != "mul":
        raise RefusedError(f"the constant is read by {', '.join(step.name for step in steps)}")
    (step,) = steps
    feature = next(item for item in step.args if isinstance(item, Operand) and item.value != constant)
    try:
        return absorb_before(flow, feature, buffer, step)
    except RefusedError as before:
        try:
            return absorb_after(flow, step.outputs[0], buffer)
        except RefusedError as after:
            raise RefusedError(f"before it: {before}; after it: {after}") from None


def _move(plan: _Plan, site: GateSite, scalings: Mapping[str, tuple[Scaling, ...]]) -> _Plan:
    """Remove multiplications and scale layers instead."""
    products = tuple(
        {"node": item["node"], "operand": item["operand"], "buffer": None}
        if item["buffer"] and _path(site, item["buffer"]) in scalings
        else item
        for item in plan.products[site.module]
    )
    return replace(
        plan,
        products={**plan.products, site.module: products},
        buffers={path: values for path, values in plan.buffers.items() if path not in scalings},
        scalings=(*plan.scalings, *chain.from_iterable(scalings.values())),
    )
