"""Replaces gates of a network by constants, folds them into neighbouring layers, and holds each step to the truth.

The truth is the untouched network with the same constants in the place of its gates (`se_probe.gates.intervene`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from se_probe.folding.absorb import Absorbed, Scaling, absorb_after, absorb_before
from se_probe.folding.errors import RefusedError
from se_probe.folding.flow import Flow, Operand, flow_of
from se_probe.folding.locate import Place, locate
from se_probe.folding.rebuild import RebuildError, edited
from se_probe.gates import Constant, GateRecorder, GateSite, intervene
from se_probe.gates.recorder import check_recordable, module_of
from se_probe.gates.site import tap_of
from se_probe.gates.tracing import storage_of, tensors_in

LAYERS, MULTIPLY, REFUSED = "into layers", "fixed multiply", "refused"


@dataclass(frozen=True)
class SiteFold:
    """What became of a site.

    Attributes:
        site: its name.
        module: path of the multiplying module.
        how: "into layers" (nothing is left of the gate), "fixed multiply" or "refused" (untouched).
        layers: the layers that took the constants in.
        reason: why a multiplication is left, or why the site was refused; "" otherwise.
        deviation: largest difference from the intervened network's output over its largest value, on the probe.
    """

    site: str
    module: str
    how: str
    layers: tuple[str, ...] = ()
    reason: str = ""
    deviation: float = 0.0


@dataclass(frozen=True)
class Folded:
    """A network with fixed gates, and how it was made.

    Attributes:
        network: the network, in evaluation mode; no tensor is shared with the one it was made from.
        sites: what became of each site, in the order given.
        edits: how its structure differs, as `se_probe.folding.rebuild.edited` reads it.
    """

    network: nn.Module
    sites: tuple[SiteFold, ...]
    edits: tuple[dict[str, Any], ...]

    @property
    def fixed(self) -> list[str]:
        """Names of the sites whose gates are constants now."""
        return [item.site for item in self.sites if item.how != REFUSED]


def fold_gates(
    network: nn.Module, constants: Mapping[GateSite, ArrayLike], batch: torch.Tensor, tolerance: float | None = None
) -> Folded:
    """Return a copy of a network whose gates at some sites are constants, without what computed them.

    A constant is folded into the batch norm, convolution or linear layer before the site, or into the convolution or
    linear layer after it, where the data flow of a real pass allows; else the feature map is multiplied by it. A
    site that cannot be changed is left as it is, with the reason. After each site the network's output on `batch`
    must equal that of the untouched network with the same constants.

    Args:
        network: the network, in evaluation mode; it is not changed.
        constants: site as `find_gates` returned it → gate, `(channel,)` or `(branch, channel)`.
        batch: `(image, 3, H, W)`, two images or more on which gates differ, on the network's device.
        tolerance: largest deviation allowed; by default 1e-5 in float32, see `tolerance_of`.

    Raises:
        SeProbeError: the network is in training mode or wrapped, or the constants do not fit their sites.
    """
    check_recordable(network)
    probe = _Probe(network, batch, tolerance_of(batch.dtype) if tolerance is None else tolerance)
    calls, gates = _probed(network, list(constants), batch)
    plan, done = _Plan(), []
    for site, values in constants.items():
        constant = torch.as_tensor(np.asarray(values))
        try:
            places = locate(module_of(network, site.module), calls[site.module], site, gates[site.name])
            plan, outcome = _folded(probe, plan, site, constant, places)
        except RefusedError as refusal:
            outcome = SiteFold(site.name, site.module, REFUSED, reason=str(refusal))
        done.append(outcome)
    return Folded(_made(network, plan), tuple(done), plan.edits)


def tolerance_of(dtype: torch.dtype) -> float:
    """Return how far outputs may differ relative to the largest: 84 rounding steps, 1e-5 in float32."""
    return 84 * torch.finfo(dtype).eps


def deviation(outputs: object, reference: object) -> float:
    """Return the largest difference between two outputs of a network over the largest absolute value of the second."""
    pairs = list(zip(tensors_in(outputs), tensors_in(reference), strict=True))
    difference = max(float((first.double() - second.double()).abs().max()) for first, second in pairs)
    scale = max(float(second.double().abs().max()) for _, second in pairs)
    return difference / scale if scale else difference


@dataclass(frozen=True)
class _Plan:
    """What is to be changed in a network: products by module with their constants, and parameters.

    `products` maps a module's path to its edits, `buffers` a buffer's path to its values.
    """

    products: Mapping[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    buffers: Mapping[str, torch.Tensor] = field(default_factory=dict)
    scalings: tuple[Scaling, ...] = ()
    sites: Mapping[GateSite, torch.Tensor] = field(default_factory=dict)

    @property
    def edits(self) -> tuple[dict[str, Any], ...]:
        return tuple({"module": path, "products": list(products)} for path, products in self.products.items())


class _Probe:
    """Compares changed copies of a network with the intervened network, on one batch."""

    def __init__(self, network: nn.Module, batch: torch.Tensor, tolerance: float) -> None:
        self.network, self.batch, self.tolerance = network, batch, tolerance

    def check(self, plan: _Plan) -> float:
        """Return the deviation of the network that a plan makes.

        Raises:
            RefusedError: it cannot be made, does not run, or deviates too far.
        """
        with intervene(self.network, {site: Constant(values.numpy()) for site, values in plan.sites.items()}):
            reference = self.network(self.batch)
        try:
            with torch.no_grad():
                found = deviation(_made(self.network, plan)(self.batch), reference)
        except (RuntimeError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise RefusedError(f"the changed network does not run ({error})") from error
        if not found <= self.tolerance:
            raise RefusedError(f"outputs deviate by {found:.1e} from the intervened network's, {self.tolerance:.0e} is allowed")
        return found


def _probed(
    network: nn.Module, sites: Sequence[GateSite], batch: torch.Tensor
) -> tuple[dict[str, tuple[tuple[Any, ...], dict[str, Any]]], dict[str, torch.Tensor]]:
    """Return the arguments of each multiplying module and the gates of each site, in a pass of the network."""
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def catching(path: str) -> Any:
        def catch(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            copies = tuple(item.clone() if isinstance(item, torch.Tensor) else item for item in args)
            calls[path] = copies, {key: item.clone() if isinstance(item, torch.Tensor) else item for key, item in kwargs.items()}

        return catch

    with ExitStack() as hooks, torch.no_grad(), GateRecorder(network, sites) as recorder:
        for path in {site.module for site in sites}:
            module = module_of(network, path)
            hooks.callback(module.register_forward_pre_hook(catching(path), with_kwargs=True).remove)
        network(batch)
        return calls, recorder.gates


def _folded(
    probe: _Probe, plan: _Plan, site: GateSite, constant: torch.Tensor, places: Sequence[Place]
) -> tuple[_Plan, SiteFold]:
    """Fold one more site; return the new plan and what became of the site."""
    calls = tap_of(site).product_calls
    if calls != 1:
        raise RefusedError(f"its module {site.module!r} is called {calls} times in a pass")
    multiplied, names = _multiplied(plan, site, constant, places)
    found = probe.check(multiplied)
    flow = flow_of(changed := _made(probe.network, multiplied), probe.batch)
    absorbed: dict[str, Absorbed] = {}
    reasons = []
    for name, place in zip(names, places, strict=True):
        try:
            absorbed[name] = _absorbed(flow, changed.get_buffer(name), place)
        except RefusedError as refusal:
            reasons.append(str(refusal))
    if absorbed:
        try:
            into_layers = _into_layers(multiplied, site, absorbed)
            found = probe.check(into_layers)
            layers = tuple(layer for item in absorbed.values() for layer in item.layers)
            how = MULTIPLY if reasons else LAYERS
            return into_layers, SiteFold(site.name, site.module, how, layers, "; ".join(dict.fromkeys(reasons)), found)
        except RefusedError as refusal:
            reasons.append(str(refusal))
    return multiplied, SiteFold(site.name, site.module, MULTIPLY, (), "; ".join(dict.fromkeys(reasons)), found)


def _multiplied(
    plan: _Plan, site: GateSite, constant: torch.Tensor, places: Sequence[Place]
) -> tuple[_Plan, list[str]]:
    """Put constants in the place of a site's factors; return the plan and the paths of their buffers."""
    before = plan.products.get(site.module, ())
    parts = [constant] if len(places) == 1 else list(constant.unbind(0))
    edits, buffers = [], {}
    for place, part in zip(places, parts, strict=True):
        values = place.constant(part)
        name = f"fixed_gate_{len(before) + len(edits)}"
        facts = {"shape": list(values.shape), "dtype": str(values.dtype).removeprefix("torch.")}
        edits.append({"node": place.node, "operand": place.operand, "buffer": name, **facts})
        buffers[f"{site.module}.{name}".removeprefix(".")] = values
    products = {**plan.products, site.module: (*before, *edits)}
    sites = {**plan.sites, site: constant}
    return replace(plan, products=products, buffers={**plan.buffers, **buffers}, sites=sites), list(buffers)


def _absorbed(flow: Flow, buffer: torch.Tensor, place: Place) -> Absorbed:
    """Return the layers that take in one constant, before the site or after it."""
    if not place.plain:
        raise RefusedError(f"{place.node} does more than multiply")
    steps = [step for value, _ in flow.readers.items() if value.storage == storage_of(buffer) for step in flow.read_by(value)]
    if len(steps) != 1 or steps[0].name != "mul":
        raise RefusedError(f"the constant is read by {', '.join(step.name for step in steps)}")
    step = steps[0]
    feature = next(item for item in step.args if isinstance(item, Operand) and item.value.storage != storage_of(buffer))
    try:
        return absorb_before(flow, feature, buffer, step)
    except RefusedError as before:
        try:
            return absorb_after(flow, step.outputs[0], buffer)
        except RefusedError as after:
            raise RefusedError(f"not into what comes before ({before}) nor after ({after})") from None


def _into_layers(plan: _Plan, site: GateSite, absorbed: Mapping[str, Absorbed]) -> _Plan:
    """Take multiplications out and scale layers in their place."""
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


def _made(network: nn.Module, plan: _Plan) -> nn.Module:
    """Return a changed copy of a network.

    Raises:
        RefusedError: its structure cannot be changed like that.
    """
    made = copy.deepcopy(network)
    try:
        for edit in plan.edits:
            made = edited(made, edit)
    except RebuildError as error:
        raise RefusedError(str(error)) from error
    state = dict(made.named_parameters()) | dict(made.named_buffers())
    with torch.no_grad():
        for path, values in plan.buffers.items():
            parent, _, name = path.rpartition(".")
            setattr(made.get_submodule(parent), name, values.clone())
        for scaling in plan.scalings:
            parameter = state[scaling.parameter]
            parameter.copy_(parameter.double() * scaling.factor.double())
    return made
