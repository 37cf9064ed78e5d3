"""Find where a module's forward multiplies by its gate, by values and not by names."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from se_probe.folding.absorb import RefusedError
from se_probe.folding.rebuild import trace_module
from se_probe.gates import GateSite
from se_probe.gates.site import hook_point_of
from se_probe.trace.operation import Product, canonical, factor_like

# Multiplications as written in a forward.
_PLAIN = {operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_", "multiply", "multiply_"}
_PRODUCTS = {*_PLAIN, torch.addcmul, torch.einsum, "addcmul", "addcmul_"}


@dataclass(frozen=True)
class ProductNode:
    """A multiplication by a gate in the graph of a module's forward."""

    node: str  # name of the multiplication
    operand: int  # position of the factor among its arguments
    plain: bool  # whether it only multiplies two tensors, so that it can be removed
    factor: torch.Tensor  # the factor in the probed pass
    product: Product  # the product that discovery found

    def constant(self, gate: torch.Tensor) -> torch.Tensor:
        """Return a gate `(channel,)` or `(branch, channel)` in the factor's layout, with length 1 where broadcast."""
        gate = gate.to(self.factor.dtype).to(self.factor.device)
        axes = self.product.axes
        if self.factor.dim() <= max(axes, default=0):
            return gate.reshape(1, *self.factor.shape[1:])
        return factor_like(_unrepeated(self.factor[:1], axes).contiguous(), axes, gate[None])


def locate(
    module: nn.Module, call: tuple[tuple[Any, ...], Mapping[str, Any]], site: GateSite, gates: torch.Tensor
) -> list[ProductNode]:
    """Return the multiplications of a site, in the order of its products.

    Raise RebuildError if the module cannot be traced, RefusedError if a product is not found exactly once.

    Args:
        call: positional and keyword arguments of its call in a probed pass.
        gates: its gates in that pass, `(image, channel)` or `(image, branch, channel)`.
    """
    interpreter = _Interpreter(module)
    args, kwargs = call
    named = (kwargs[name] for name in interpreter.inputs[len(args) :] if name in kwargs)
    with torch.no_grad():
        interpreter.run(*map(_copied, (*args, *named)))
    products = hook_point_of(site).products
    factors = [gates] if len(products) == 1 else gates.unbind(1)
    nodes = []
    for product, gate in zip(products, factors, strict=True):
        found = [
            ProductNode(node.name, position, node.target in _PLAIN and len(node.args) == 2, values[item.name], product)
            for node, values in interpreter.seen
            for position, item in enumerate(node.args)
            if isinstance(item, fx.Node) and _is_gate(values[item.name], product, gate)
        ]
        if len(found) != 1:
            where = f"in {len(found) or 'none'} of the {len(interpreter.seen)} multiplications"
            raise RefusedError(f"its gate is a factor {where} of {site.module!r}, not in one")
        nodes += found
    return nodes


class _Interpreter(fx.Interpreter):
    """Copies the tensor arguments of every multiplication when it runs."""

    def __init__(self, module: nn.Module) -> None:
        graph = trace_module(module)
        super().__init__(fx.GraphModule(module, graph), garbage_collect_values=False)
        self.inputs = [node.target for node in graph.nodes if node.op == "placeholder"]
        self.seen: list[tuple[fx.Node, dict[str, Any]]] = []

    def run_node(self, n: fx.Node) -> Any:
        if n.target in _PRODUCTS:
            self.seen.append((n, {item.name: _copied(self.env[item]) for item in n.all_input_nodes}))
        return super().run_node(n)


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _unrepeated(factor: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """Return the first position along all axes but the images' and `axes`."""
    for axis in range(1, factor.dim()):
        factor = factor if axis in axes else factor.narrow(axis, 0, 1)
    return factor


def _is_gate(value: Any, product: Product, gate: torch.Tensor) -> bool:
    """Whether a factor holds a gate, `(image, channel)` or `(image, branch, channel)`, bit for bit."""
    if not isinstance(value, torch.Tensor) or value.dim() < 2 or value.shape[0] != gate.shape[0]:
        return False
    if value.dim() <= max(product.axes, default=0):
        in_order = product.axes == tuple(sorted(product.axes))
        return in_order and value.numel() == gate.numel() and torch.equal(value.reshape(gate.shape), gate)
    read = _unrepeated(value, product.axes)
    if read.numel() != gate.numel() or not torch.equal(read.expand_as(value), value):
        return False
    return torch.equal(canonical(value, product.axes, tuple(gate.shape[1:])), gate)
