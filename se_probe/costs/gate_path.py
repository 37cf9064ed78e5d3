"""The operations that compute a gate, and the products that apply it."""

from __future__ import annotations

from collections.abc import Iterable

from se_probe.gates import GateSite
from se_probe.trace.flow import Edge, Flow
from se_probe.trace.operation import Product


def gate_path(flow: Flow, sites: Iterable[GateSite]) -> set[int]:
    """Return the steps that are unused once the gates of these sites are constants."""
    return flow.needed() - flow.needed(factor_edges(sites))


def factor_edges(sites: Iterable[GateSite]) -> frozenset[Edge]:
    """Return the arguments through which the gates of these sites enter their products."""
    return frozenset((product.operation, product.operand) for product in products_of(sites))


def products_of(sites: Iterable[GateSite]) -> list[Product]:
    """Return the multiplications by the gates of these sites."""
    return [product for site in sites if site.hook_point for product in site.hook_point.products]


def formula_parameters(site: GateSite) -> float | None:
    """Return 2 C² / r, the weights of two layers C to C / r to C without biases; None where a site has no r.

    Gates over branches have other layers, so the formula is not for them.

    Source: SENet (arXiv 1709.01507), equation 5, the sum of which over blocks is (2 / r) Σ N_s C_s².
    """
    if site.reduction is None or site.branches > 1:
        return None
    return 2 * site.channels**2 / site.reduction
