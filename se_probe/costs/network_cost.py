"""Parameters, additions and multiply-adds of each site's gate path, also for other reduction ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.gates.site import hook_point_of
from se_probe.trace.dry_pass import dry_pass, unwrap
from se_probe.trace.flow import Flow, follow
from se_probe.trace.operation import Operation, Product

# SENet, table 10, without 2.
REDUCTIONS = (4, 8, 16, 32)
COLUMNS = (
    *("site", "stage", "family", "channels", "branches", "reduction", "parameters", "formula_parameters"),
    *("squeeze", "excitation", "scale", "shared_parameters", "network_parameters", "network_multiply_adds"),
)


@dataclass(frozen=True)
class GateCost:
    """Cost of computing and applying gates; operations are counted for one image.

    Attributes:
        parameters: parameters that only the gate path reads.
        squeeze: additions of the gate path: pooling, and sums of branches before it.
        excitation: multiply-adds of its layers.
        scale: multiplications of feature maps by gates, one for each element.
    """

    parameters: int
    squeeze: int
    excitation: int
    scale: int

    @property
    def operations(self) -> int:
        """Squeeze, excitation and scale together."""
        return self.squeeze + self.excitation + self.scale


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a network and of its gates.

    Attributes:
        input_size: size of the input without the image axis.
        parameters: all parameters of the network.
        multiply_adds: multiply-adds of all convolutions and matrix products, those of gates included, for one image.
        sites: the sites, in network order.
        site_costs: the cost of each site alone. Parameters that several sites share are in none of them.
        gates: the cost of all sites together.
    """

    input_size: tuple[int, ...]
    parameters: int
    multiply_adds: int
    sites: tuple[GateSite, ...]
    site_costs: tuple[GateCost, ...]
    gates: GateCost

    @property
    def parameters_without(self) -> int:
        """Parameters of the network without its gate paths."""
        return self.parameters - self.gates.parameters

    @property
    def multiply_adds_without(self) -> int:
        """Multiply-adds of the network's layers without its gate paths."""
        return self.multiply_adds - self.gates.excitation

    @property
    def operations(self) -> int:
        """Multiply-adds of all layers with the additions of squeezes and the multiplications of scales."""
        return self.multiply_adds_without + self.gates.operations

    @property
    def shared_parameters(self) -> int:
        """Parameters that only the gates of several sites read."""
        return self.gates.parameters - sum(cost.parameters for cost in self.site_costs)

    @property
    def formula_parameters(self) -> float | None:
        """(2 / r) Σ C² over the sites that have a reduction ratio, None where none has (see `formula_parameters`)."""
        values = [value for site in self.sites if (value := formula_parameters(site)) is not None]
        return sum(values) if values else None

    def table(self) -> pd.DataFrame:
        """Return the cost of every site, one row each, with the network's totals beside it.

        `reduction` and `formula_parameters` are missing where a site has none. `shared_parameters` are the same in
        every row.
        """
        table = pd.DataFrame(
            site.to_dict() | asdict(cost) | {"site": site.name, "formula_parameters": formula_parameters(site)}
            for site, cost in zip(self.sites, self.site_costs, strict=True)
        ).assign(
            shared_parameters=self.shared_parameters,
            network_parameters=self.parameters,
            network_multiply_adds=self.multiply_adds,
        )
        return table[list(COLUMNS)].astype({"reduction": float, "formula_parameters": float})


def network_cost(network: nn.Module, sites: Sequence[GateSite], input_size: Sequence[int]) -> NetworkCost:
    """Count the cost of a network and of the gates at some of its sites, in one pass over noise.

    The gate path of a site is every operation and parameter that reaches the output only through the gate, so that
    nothing needs it once the gate is a constant. It is found by data flow, whatever modules compute it.

    Args:
        network: any network; it is left as it was.
        sites: all or some of the sites that `find_gates` returned for it.
        input_size: size of its input without the image axis, such as `(3, 224, 224)`.

    Raises:
        SeProbeError: a site does not belong to the network, or the pass failed.

    Source: SENet (arXiv 1709.01507), section 4, which names the three parts.
    """
    network = unwrap(network)
    flow = dry_pass(network, input_size, follow)
    check_flow(network, flow, sites)
    return NetworkCost(
        input_size=tuple(input_size),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        multiply_adds=sum(step.multiply_adds for step in flow.steps),
        sites=tuple(sites),
        site_costs=tuple(_gate_cost(network, flow, [site]) for site in sites),
        gates=_gate_cost(network, flow, sites),
    )


def cost_table(network: nn.Module, sites: Sequence[GateSite], input_size: Sequence[int]) -> pd.DataFrame:
    """Tabulate the cost of every site's gate path, counted for one image.

    Args:
        network: any network; it is left unchanged.
        sites: sites that `find_gates` returned for it.
        input_size: input size without the image axis, such as `(3, 224, 224)`.

    Returns:
        One row per site: `site`, `stage`, `family`, `channels`, `branches`, `reduction`, `parameters`,
        `formula_parameters` (2 C² / r), `squeeze` (additions), `excitation` (multiply-adds), `scale` (multiplications),
        and, the same in every row, `shared_parameters`, `network_parameters` and `network_multiply_adds`.

    Raises:
        SeProbeError: as `network_cost`.
    """
    return network_cost(network, sites, input_size).table()


def _gate_cost(network: nn.Module, flow: Flow, sites: Sequence[GateSite]) -> GateCost:
    path = [flow.steps[number] for number in gate_path(flow, sites)]
    applied = {product.operation for product in products_of(sites)}
    return GateCost(
        parameters=sum(network.get_parameter(step.parameter).numel() for step in path if step.parameter),
        squeeze=sum(step.additions for step in path),
        excitation=sum(step.multiply_adds for step in path),
        scale=sum(step.elements for step in flow.steps if step.operation in applied),
    )


def gate_path(flow: Flow, sites: Sequence[GateSite]) -> set[int]:
    """Return the steps that nothing needs once the gates of these sites are constants."""
    factors = {(product.operation, product.operand) for product in products_of(sites)}
    return flow.needed() - flow.needed(factors)


def products_of(sites: Sequence[GateSite]) -> list[Product]:
    """Return the multiplications by the gates of these sites."""
    return [product for site in sites for product in hook_point_of(site).products]


def check_flow(network: nn.Module, flow: Flow, sites: Sequence[GateSite]) -> None:
    """Raise SeProbeError if a pass returned no tensor that it computed or did not make the products of a site."""
    if not flow.outputs:
        raise SeProbeError(
            f"{type(network).__name__} returns no tensor computed in the pass; expected a tensor, or tuples, lists or "
            "dicts of them."
        )
    made: set[Operation | None] = {step.operation for step in flow.steps}
    for site in sites:
        if not made.issuperset(product.operation for product in products_of([site])):
            raise SeProbeError(
                f"this network never multiplies by the gate of site {site.name}; pass the sites that find_gates "
                "returned for this network."
            )


def formula_parameters(site: GateSite) -> float | None:
    """Return 2 C² / r, the weights of two layers C to C / r to C without biases; None where a site has no r.

    Gates over branches have other layers, so that the formula does not apply to them.

    Source: SENet (arXiv 1709.01507), equation 5, the sum of which over blocks is (2 / r) Σ N_s C_s².
    """
    return None if site.reduction is None or site.branches > 1 else 2 * site.channels**2 / site.reduction


def reduction_sweep(cost: NetworkCost, reductions: Sequence[int] = REDUCTIONS) -> pd.DataFrame:
    """Return what a network would cost with other reduction ratios, one row each; no other network is built.

    Sites are swept where the gate is computed by two plain layers C to d to C; they are counted with d = C // r, at
    least 1, with biases where the network has them. The other sites stay as they are.

    Args:
        cost: what the network costs as it is.
        reductions: the ratios r.

    Returns:
        Columns `reduction`, `sites` (number of sites swept), `formula_parameters` ((2 / r) Σ C² over these sites),
        `gate_parameters`, `excitation`, `parameters` and `multiply_adds` (of the network, as in `NetworkCost`),
        `parameters_increase` and `operations_increase` (over the network without gates), and `current` (whether all
        swept sites have this r). Empty where no site can be swept.

    Raises:
        SeProbeError: a ratio below 1.
    """
    if wrong := [ratio for ratio in reductions if ratio < 1]:
        raise SeProbeError(f"a reduction ratio of {wrong[0]} was requested; expected numbers of at least 1.")
    swept = [pair for pair in zip(cost.sites, cost.site_costs, strict=True) if _biases(*pair) is not None]
    return pd.DataFrame([_at(ratio, cost, swept) for ratio in reductions if swept])


def _at(ratio: int, cost: NetworkCost, swept: Sequence[tuple[GateSite, GateCost]]) -> dict[str, float]:
    layers = [_layers(site.channels, max(1, site.channels // ratio)) for site, _ in swept]
    weights = sum(weights for weights, _ in layers)
    biases = sum(biases for (_, biases), pair in zip(layers, swept, strict=True) if _biases(*pair))
    more_parameters = weights + biases - sum(item.parameters for _, item in swept)
    more_excitation = weights - sum(item.excitation for _, item in swept)
    return {
        "reduction": ratio,
        "sites": len(swept),
        "formula_parameters": sum(2 * site.channels**2 / ratio for site, _ in swept),
        "gate_parameters": cost.gates.parameters + more_parameters,
        "excitation": cost.gates.excitation + more_excitation,
        "parameters": cost.parameters + more_parameters,
        "multiply_adds": cost.multiply_adds + more_excitation,
        "parameters_increase": (cost.parameters + more_parameters) / cost.parameters_without - 1,
        "operations_increase": (cost.operations + more_excitation) / cost.multiply_adds_without - 1,
        "current": all(site.reduction == ratio for site, _ in swept),
    }


def _layers(channels: int, width: int) -> tuple[int, int]:
    """Return the numbers of weights and biases of two layers."""
    return 2 * channels * width, channels + width


def _biases(site: GateSite, cost: GateCost) -> bool | None:
    """Return whether a site's two layers have biases, None where its gate is not computed by two plain layers."""
    if site.reduction is None or site.branches > 1:
        return None
    weights, biases = _layers(site.channels, round(site.channels / site.reduction))
    if cost.excitation != weights or cost.parameters - weights not in (0, biases):
        return None
    return cost.parameters > weights
