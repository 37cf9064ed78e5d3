"""Planned changes of a network, the changed copy, and its deviation from the intervened network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import nn

from se_probe.folding.absorb import RefusedError, Scaling
from se_probe.folding.rebuild import RebuildError, edited
from se_probe.gates import Constant, GateSite, intervene
from se_probe.trace.watching import tensors_in


@dataclass(frozen=True)
class FoldPlan:
    """Planned changes: products by module with their constants, and scalings of parameters.

    `products` maps a module's path to its edits, `buffers` a buffer's path to its values.
    """

    products: Mapping[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    buffers: Mapping[str, torch.Tensor] = field(default_factory=dict)
    scalings: tuple[Scaling, ...] = ()
    sites: Mapping[GateSite, torch.Tensor] = field(default_factory=dict)

    @property
    def edits(self) -> tuple[dict[str, Any], ...]:
        """The changes of structure, a module each."""
        return tuple({"module": path, "products": list(products)} for path, products in self.products.items())


def changed_copy(network: nn.Module, plan: FoldPlan) -> nn.Module:
    """Return a changed copy of a network.

    Raises:
        RefusedError: its structure cannot be changed like that.
    """
    copied = copy.deepcopy(network)
    try:
        for edit in plan.edits:
            copied = edited(copied, edit)
    except RebuildError as error:
        raise RefusedError(str(error)) from error
    state = dict(copied.named_parameters()) | dict(copied.named_buffers())
    with torch.no_grad():
        for path, values in plan.buffers.items():
            parent, _, name = path.rpartition(".")
            setattr(copied.get_submodule(parent), name, values.clone())
        for scaling in plan.scalings:
            parameter = state[scaling.parameter]
            parameter.copy_(parameter.cpu().double() * scaling.factor.cpu().double())
    return copied


def tolerance_of(dtype: torch.dtype) -> float:
    """Return how far outputs may differ relative to the largest: 84 rounding steps, 1e-5 in float32."""
    return 84 * torch.finfo(dtype).eps


def deviation(outputs: object, reference: object) -> torch.Tensor:
    """Return the largest difference between two outputs of a network over the largest absolute value of the second.

    A scalar on the outputs' device, in float32 at least.
    """
    pairs = [
        (first.to(dtype), second.to(dtype))
        for first, second in zip(tensors_in(outputs), tensors_in(reference), strict=True)
        for dtype in [torch.promote_types(second.dtype, torch.float32)]
    ]
    difference = torch.stack([(first - second).abs().max() for first, second in pairs]).max()
    scale = torch.stack([second.abs().max() for _, second in pairs]).max()
    return torch.where(scale > 0, difference / scale, difference)


_Change = Callable[[FoldPlan], FoldPlan]


class DeviationCheck:
    """Compares changed copies of a network with the intervened network on one batch."""

    def __init__(self, network: nn.Module, batch: torch.Tensor, tolerance: float) -> None:
        self.network, self.batch, self.tolerance = network, batch, tolerance

    def check(self, plan: FoldPlan) -> float:
        """Return the deviation of a plan's network from the intervened one.

        Raises:
            RefusedError: it cannot be made, does not run, or deviates too far.
        """
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

    def applied(self, plan: FoldPlan, changes: Mapping[GateSite, _Change]) -> tuple[FoldPlan, dict[GateSite, str]]:
        """Return the plan with every change that holds, and the reason for each site whose change does not.

        All changes are tried together first, then one by one.
        """
        refused: dict[GateSite, str] = {}
        try:
            whole = reduce(lambda grown, change: change(grown), changes.values(), plan)
            self.check(whole)
            return whole, refused
        except RefusedError:
            pass
        for site, change in changes.items():
            try:
                grown = change(plan)
                self.check(grown)
                plan = grown
            except RefusedError as refusal:
                refused[site] = str(refusal)
        return plan, refused
