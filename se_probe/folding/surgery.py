"""Replace gates by constants, fold the constants into neighbouring layers, and check each step.

The reference is the untouched network with the same constants as gates (`se_probe.gates.intervene`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.utils._pytree import tree_map_only

from se_probe.folding.absorb import Absorbed, RefusedError, absorb_after, absorb_before
from se_probe.folding.locate import ProductNode, locate
from se_probe.folding.plan import DeviationCheck, FoldPlan, changed_copy, tolerance_of
from se_probe.gates import Constant, GateRecorder, GateSite
from se_probe.gates.chosen import choose_sites
from se_probe.gates.refusals import check_recordable, module_of
from se_probe.gates.site import hook_point_of
from se_probe.trace.flow import Flow, Operand, Value, follow
from se_probe.trace.watching import storage_of

LAYERS, MULTIPLY, REFUSED = "into layers", "fixed multiply", "refused"


@dataclass(frozen=True)
class SiteFold:
    """Outcome of folding at one site.

    Attributes:
        site: its name.
        module: path of the multiplying module.
        how: "into layers" (nothing is left of the gate), "fixed multiply" or "refused" (untouched).
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
        network: the network, in evaluation mode; no tensor is shared with the one it was made from.
        sites: outcome of each site, in the order given.
        edits: changes of its structure, as `se_probe.folding.rebuild.edited` reads it.
        deviation: largest difference of its output on the probe from the intervened network's, over the largest value.
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
    """Return a copy of a network whose gates at some sites are constants, without what computed them.

    A constant is folded into the batch norm, convolution or linear layer before the site, or into the convolution or
    linear layer after it, if the data flow of a real pass allows it. Otherwise the feature map is multiplied by the
    constant. A site that cannot be changed stays as it is, with the reason. The outputs on `batch` must equal those of
    the untouched network with the same constants; a site that breaks this is refused.

    Args:
        network: the network, in evaluation mode; it is not changed.
        constants: site as `find_gates` returned it, or its name → gate, `(channel,)` or `(branch, channel)`.
        batch: `(image, 3, H, W)`, two images or more on which gates differ, on the network's device.
        tolerance: largest deviation allowed; by default 1e-5 in float32, see `tolerance_of`.

    Raises:
        SeProbeError: the network is in training mode or wrapped, or the constants do not fit their sites.
    """
    check_recordable(network)
    sites = choose_sites(network, constants, input_size=batch.shape[1:])
    constants = dict(zip(sites, constants.values(), strict=True))
    for site, given in constants.items():
        Constant(given).check(site)
    probe = DeviationCheck(network, batch, tolerance_of(batch.dtype) if tolerance is None else tolerance)
    found, refused = _located(network, sites, batch)
    values = {site: torch.as_tensor(np.asarray(constants[site])) for site in found}
    fixing = {site: partial(_multiplied, site=site, constant=values[site], places=found[site]) for site in found}
    plan, failed = probe.applied(FoldPlan(), fixing)
    refused |= failed
    left: dict[GateSite, list[str]] = {}
    absorbed = _absorbed_by(probe, plan, {site: found[site] for site in plan.sites}, left)
    moving = {site: partial(_into_layers, site=site, absorbed=item) for site, item in absorbed.items() if item}
    plan, failed = probe.applied(plan, moving)
    for site, reason in failed.items():
        absorbed[site] = {}
        left[site] = [reason]
    outcomes = tuple(
        SiteFold(site.name, site.module, REFUSED, reason=refused[site])
        if site in refused
        else _outcome(site, absorbed[site], left.get(site, []))
        for site in constants
    )
    return Folded(changed_copy(network, plan), outcomes, plan.edits, probe.check(plan))


def _located(
    network: nn.Module, sites: Sequence[GateSite], batch: torch.Tensor
) -> tuple[dict[GateSite, list[ProductNode]], dict[GateSite, str]]:
    """Return the multiplications of each site, and the reasons for the sites where they are not found."""
    calls, gates = _probed(network, sites, batch)
    found, refused = {}, {}
    for site in sites:
        times = hook_point_of(site).product_calls
        try:
            if times != 1:
                raise RefusedError(f"its module {site.module!r} is called {times} times in a pass")
            found[site] = locate(module_of(network, site.module), calls[site.module], site, gates[site.name])
        except RefusedError as refusal:
            refused[site] = str(refusal)
    return found, refused


def _probed(
    network: nn.Module, sites: Sequence[GateSite], batch: torch.Tensor
) -> tuple[dict[str, tuple[tuple[Any, ...], dict[str, Any]]], dict[str, torch.Tensor]]:
    """Return the arguments of each multiplying module and the gates of each site, in a pass of the network."""
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def catching(path: str) -> Any:
        def catch(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls[path] = tree_map_only(torch.Tensor, torch.clone, (args, kwargs))

        return catch

    with ExitStack() as hooks, torch.no_grad(), GateRecorder(network, sites) as recorder:
        for path in {site.module for site in sites}:
            module = module_of(network, path)
            hooks.callback(module.register_forward_pre_hook(catching(path), with_kwargs=True).remove)
        network(batch)
        return calls, recorder.gates


def _multiplied(plan: FoldPlan, site: GateSite, constant: torch.Tensor, places: Sequence[ProductNode]) -> FoldPlan:
    """Replace a site's factors by constants."""
    before = plan.products.get(site.module, ())
    parts = [constant] if len(places) == 1 else list(constant.unbind(0))
    edits: list[dict[str, Any]] = []
    buffers = {}
    for place, part in zip(places, parts, strict=True):
        values = place.constant(part)
        name = f"fixed_gate_{len(before) + len(edits)}"
        facts = {"shape": list(values.shape), "dtype": str(values.dtype).removeprefix("torch.")}
        edits.append({"node": place.node, "operand": place.operand, "buffer": name, **facts})
        buffers[f"{site.module}.{name}".removeprefix(".")] = values
    products = {**plan.products, site.module: (*before, *edits)}
    return replace(plan, products=products, buffers={**plan.buffers, **buffers}, sites={**plan.sites, site: constant})


def _absorbed_by(
    probe: DeviationCheck,
    plan: FoldPlan,
    places: Mapping[GateSite, Sequence[ProductNode]],
    left: dict[GateSite, list[str]],
) -> dict[GateSite, dict[str, Absorbed]]:
    """Return the layers that can absorb each site's constants, by buffer; add to `left` why others cannot."""
    changed = changed_copy(probe.network, plan)
    flow = follow(changed, probe.batch)
    absorbed: dict[GateSite, dict[str, Absorbed]] = {}
    for site, found in places.items():
        nodes = {item["node"]: item["buffer"] for item in plan.products[site.module]}
        absorbed[site] = {}
        for place in found:
            path = f"{site.module}.{nodes[place.node]}".removeprefix(".")
            try:
                absorbed[site][path] = _absorbed(flow, changed.get_buffer(path), place)
            except RefusedError as refusal:
                left.setdefault(site, []).append(str(refusal))
    return absorbed


def _absorbed(flow: Flow, buffer: torch.Tensor, place: ProductNode) -> Absorbed:
    """Return the layers that absorb one constant, before the site or after it."""
    if not place.plain:
        raise RefusedError(f"{place.node} does more than multiply")
    constant = Value(storage_of(buffer), 0)
    steps = flow.read_by(constant)
    if len(steps) != 1 or steps[0].name != "mul":
        raise RefusedError(f"the constant is read by {', '.join(step.name for step in steps)}")
    feature = next(item for item in steps[0].args if isinstance(item, Operand) and item.value != constant)
    try:
        return absorb_before(flow, feature, buffer, steps[0])
    except RefusedError as before:
        try:
            return absorb_after(flow, steps[0].outputs[0], buffer)
        except RefusedError as after:
            raise RefusedError(f"before it: {before}; after it: {after}") from None


def _into_layers(plan: FoldPlan, site: GateSite, absorbed: Mapping[str, Absorbed]) -> FoldPlan:
    """Remove multiplications and scale layers instead."""
    names = {path.rpartition(".")[2] for path in absorbed}
    products = tuple(
        {"node": item["node"], "operand": item["operand"], "buffer": None} if item["buffer"] in names else item
        for item in plan.products[site.module]
    )
    scalings = (scaling for item in absorbed.values() for scaling in item.scalings)
    return replace(
        plan,
        products={**plan.products, site.module: products},
        buffers={path: values for path, values in plan.buffers.items() if path not in absorbed},
        scalings=(*plan.scalings, *scalings),
    )


def _outcome(site: GateSite, absorbed: Mapping[str, Absorbed], left: Sequence[str]) -> SiteFold:
    layers = tuple(layer for item in absorbed.values() for layer in item.layers)
    how = MULTIPLY if left else LAYERS
    return SiteFold(site.name, site.module, how, layers, "; ".join(dict.fromkeys(left)))
