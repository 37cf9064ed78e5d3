"""Replay a forward pass from its elementary operations, whole or without the gate paths.

Without its gate path a gate is a constant, whatever modules or functions compute it. Other operations run as before.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from se_probe.costs.network_cost import gate_path, products_of
from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.trace.flow import Flow, FlowMode
from se_probe.trace.operation import Operation, Product

Replay = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


class ReplayedPass:
    """The operations of one pass over a batch, the constants that they read, and the gates that were computed.

    Args:
        network: a network in evaluation mode.
        batch: its input.
        sites: sites whose gates can be left out of a replay.

    Attributes:
        flow: the flow of data in the pass.
    """

    def __init__(self, network: nn.Module, batch: torch.Tensor, sites: Sequence[GateSite]) -> None:
        mode = _GraphMode(network, batch, {item.operation: item.operand for item in products_of(sites)})
        mode.graph.output(tuple(map(mode.node, mode.watch(network, batch))))
        self.flow: Flow = mode.flow
        self._name = type(network).__name__
        self._graph, self._constants, self._factors = mode.graph, mode.constants, mode.factors

    def replay(self, sites: Sequence[GateSite] = (), *, products: bool = True) -> Replay:
        """Return a function from a batch of the same size to the network's output tensors.

        Raise SeProbeError if a gate path cannot be left out.

        Args:
            sites: sites whose gates are constants, computed from the pass's own batch; their gate paths do not run.
            products: whether feature maps are multiplied by these constants; if not, the gates are 1.
        """
        graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
        graph.output(graph.graph_copy(self._graph, copies))
        nodes = {node.meta["operation"]: copies[node] for node in self._graph.nodes if "operation" in node.meta}
        constants = dict(self._constants)
        for product in products_of(sites):
            name, node = f"gate_{product.operation.name}_{product.operation.index}", nodes[product.operation]
            constants[name] = self._factors[product.operation]
            with graph.inserting_before(node):
                node.update_arg(product.operand, graph.get_attr(name))
        path = {self.flow.steps[number].operation for number in gate_path(self.flow, sites)}
        if not _leave_out(graph, {node for operation, node in nodes.items() if operation in path}):
            raise SeProbeError(
                f"a pass of {self._name} cannot be replayed without its gates: its output is written into memory in "
                "which a gate was computed; leave out timing (--no-time)."
            )
        if not products:
            for product in products_of(sites):
                _skip_product(graph, nodes[product.operation], product)
        return torch.inference_mode()(fx.GraphModule(constants, graph).forward)


def _leave_out(graph: fx.Graph, path: set[fx.Node]) -> bool:
    """Remove a gate path and all that depends on it; return False if the output does."""
    removed = dict[fx.Node, None]()
    for node in list(graph.nodes):
        if node in path and _changes_its_argument(node):
            # Downstream operations read the tensor as it was before the in-place write.
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
        elif node in path or any(source in removed for source in node.all_input_nodes):
            removed[node] = None
    if any(node.op == "output" for node in removed):
        return False
    for node in reversed(removed):
        graph.erase_node(node)
    return True


def _changes_its_argument(node: fx.Node) -> bool:
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable and bool(node.all_input_nodes)


def _skip_product(graph: fx.Graph, node: fx.Node, product: Product) -> None:
    """Replace a product by its feature map; a product fused with an addition stays."""
    if product.operation.name == "mul":
        node.replace_all_uses_with(node.args[product.feature_operand])  # type: ignore[arg-type]  # a node
        graph.erase_node(node)


class _GraphMode(FlowMode):
    """Records a pass as data flow and as a graph of operations."""

    def __init__(self, network: nn.Module, batch: torch.Tensor, operands: Mapping[Operation, int]) -> None:
        super().__init__(network, batch)
        self.graph = fx.Graph()
        self.constants: dict[str, Any] = {}
        self.factors: dict[Operation, torch.Tensor] = {}
        self._operands = operands
        self._nodes = WeakTensorKeyDictionary()
        self._nodes[batch] = self.graph.placeholder("batch")

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operation = self._operation
        if operation in self._operands:
            self.factors[operation] = _copied(args[self._operands[operation]])
        node = self.graph.call_function(func, *tree_map_only(torch.Tensor, self.node, (args, kwargs)))
        node.meta["operation"] = operation
        output = super().run(func, args, kwargs)
        if isinstance(output, torch.Tensor):
            self._nodes[output] = node
        elif isinstance(output, tuple | list):
            for index, part in enumerate(output):
                if isinstance(part, torch.Tensor):
                    self._nodes[part] = self.graph.call_function(operator.getitem, (node, index))
        return output

    def node(self, tensor: torch.Tensor) -> fx.Node:
        """Return the node of a tensor: an operation, the batch, or a constant made outside the pass."""
        if tensor not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = tensor
            self._nodes[tensor] = self.graph.get_attr(name)
        found: fx.Node = self._nodes[tensor]
        return found


def _copied(factor: torch.Tensor) -> torch.Tensor:
    """Copy a factor without materialising its broadcast axes."""
    once = tuple(slice(0, 1) if step == 0 else slice(None) for step in factor.stride())
    return factor[once].clone().expand(factor.shape)
