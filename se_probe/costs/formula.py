"""Cost of other reduction ratios, by the SENet paper's formula and by counting."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from se_probe.costs.network_cost import GateCost, NetworkCost
from se_probe.errors import SeProbeError
from se_probe.gates import GateSite

# SENet, table 10, without 2.
REDUCTIONS = (4, 8, 16, 32)


def reduction_sweep(cost: NetworkCost, reductions: Sequence[int] = REDUCTIONS) -> pd.DataFrame:
    """Return what a network would cost with other reduction ratios, a row each; no other network is built.

    Counted from the channels of the sites: layers C to d to C with d = C // r, at least 1, and with biases where the
    network has some. Sites are swept where they are that, `sites` says how many; the others stay as they are.

    Args:
        cost: what the network costs as it is.
        reductions: the ratios r.

    Returns:
        Columns `reduction`, `sites`, `formula_parameters` ((2 / r) Σ C² over the swept sites), `gate_parameters`,
        `excitation`, `parameters` and `multiply_adds` (of the network, as in `NetworkCost`), `parameters_increase`
        and `operations_increase` (over the network without gates), and `current` (whether all swept sites have this
        r). Empty where no site can be swept.

    Raises:
        SeProbeError: a ratio below 1.
    """
    if wrong := [ratio for ratio in reductions if ratio < 1]:
        raise SeProbeError(f"a reduction ratio of {wrong[0]} was asked for; expected numbers of at least 1.")
    swept = [pair for pair in zip(cost.sites, cost.site_costs, strict=True) if _biases(*pair) is not None]
    return pd.DataFrame([_at(ratio, cost, swept) for ratio in reductions if swept])


def _at(ratio: int, cost: NetworkCost, swept: Sequence[tuple[GateSite, GateCost]]) -> dict[str, float]:
    layers = [_layers(site.channels, max(1, site.channels // ratio)) for site, _ in swept]
    weights = sum(weights for weights, _ in layers)
    biases = sum(biases for (_, biases), pair in zip(layers, swept, strict=True) if _biases(*pair))
    more_parameters = weights + biases - sum(item.parameters for _, item in swept)
    more_excitation = weights - sum(item.excitation for _, item in swept)
    operations = cost.operations + more_excitation
    return {
        "reduction": ratio,
        "sites": len(swept),
        "formula_parameters": sum(2 * site.channels**2 / ratio for site, _ in swept),
        "gate_parameters": cost.gates.parameters + more_parameters,
        "excitation": cost.gates.excitation + more_excitation,
        "parameters": cost.parameters + more_parameters,
        "multiply_adds": cost.multiply_adds + more_excitation,
        "parameters_increase": (cost.parameters + more_parameters) / cost.parameters_without - 1,
        "operations_increase": operations / cost.multiply_adds_without - 1,
        "current": all(site.reduction == ratio for site, _ in swept),
    }


def _layers(channels: int, width: int) -> tuple[int, int]:
    """Return the weights and the biases of two layers."""
    return 2 * channels * width, channels + width


def _biases(site: GateSite, cost: GateCost) -> bool | None:
    """Return whether the two layers of a site have biases; None where its gate is not computed by two plain layers."""
    if site.reduction is None or site.branches > 1:
        return None
    weights, biases = _layers(site.channels, round(site.channels / site.reduction))
    if cost.excitation != weights or cost.parameters - weights not in (0, biases):
        return None
    return cost.parameters > weights
