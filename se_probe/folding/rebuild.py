"""Rebuilds a folded network from its folder. It needs torch, safetensors and whatever built the network, no se-probe.

>>> from load import load
>>> network = load()  # in evaluation mode

`se-probe fold` copies this file beside the weights as `load.py`; se-probe itself folds and loads with it too, so that
both make the same network. Nothing is unpickled. Of `folded.json` only the structure is read: no path in it is opened,
and no code that it names is run but the model constructors of timm, torchvision and se-probe's demo. A network of
one's own is passed in.
"""

from __future__ import annotations

import copy
import hashlib
import json
import operator
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from torch import fx, nn

SCHEMA = 1
WEIGHTS, FACTS = "model.safetensors", "folded.json"
_CHOOSE_WEIGHTS = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "weights"}
_IN_PLACE = {operator.imul, operator.iadd, operator.isub, operator.itruediv}


class RebuildError(Exception):
    """A folder that cannot be rebuilt, or a module that cannot be changed; the message is one line."""


def load(folder: str | Path | None = None, network: nn.Module | None = None) -> nn.Module:
    """Return the folded network of a folder, in evaluation mode, on the CPU and without gradients.

    Args:
        folder: where `folded.json` and `model.safetensors` lie; the folder of this file by default.
        network: the network before it was folded, with any weights; it is copied. Needed where neither timm nor
            torchvision nor se-probe's demo builds it.

    Raises:
        RebuildError: a file is missing, was changed, or does not fit the network.
    """
    place = Path(folder) if folder is not None else Path(__file__).parent
    facts = read_facts(place)
    tensors = _tensors(place, facts)
    rebuilt = copy.deepcopy(network) if network is not None else build(facts["builder"])
    rebuilt = rebuilt.cpu().eval()
    for edit in facts["edits"]:
        rebuilt = edited(rebuilt, edit)
    try:
        # The saved tensors take the place of the network's, and keep their precision.
        rebuilt.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RebuildError(f"{WEIGHTS} does not fit the network as it is built here: {reason}") from error
    return rebuilt.requires_grad_(False)


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what `folded.json` says, checked as far as rebuilding needs it."""
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        known = facts["schema"] == SCHEMA and isinstance(facts["edits"], list) and isinstance(facts["builder"], dict)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RebuildError(f"{folder} holds no readable {FACTS} ({type(error).__name__})") from error
    if not known:
        raise RebuildError(f"{folder / FACTS} has schema {facts['schema']}; this loader reads schema {SCHEMA}")
    return dict(facts)


def _tensors(folder: Path, facts: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    try:
        data = (folder / WEIGHTS).read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != facts.get("weights_sha256"):
            raise RebuildError(
                f"{folder / WEIGHTS} has sha256 {found[:12]}…, {FACTS} says {str(facts.get('weights_sha256'))[:12]}…; "
                "one of them was changed"
            )
        return dict(read_tensors(data))
    except (OSError, SafetensorError) as error:
        raise RebuildError(f"{folder / WEIGHTS} is not readable ({error})") from error


def build(builder: Mapping[str, Any]) -> nn.Module:
    """Return an untrained network from what `folded.json` says of its builder; nothing is downloaded."""
    source, name, arguments = checked_builder(builder)
    makers = {
        "timm": lambda: import_module("timm").create_model(name, pretrained=False, **arguments),
        "torchvision": lambda: import_module("torchvision.models").get_model(name, weights=None, **arguments),
        "demo": lambda: import_module("se_probe.demo").demo_network(name),
    }
    network: nn.Module = makers[source]()
    return network


def checked_builder(builder: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return source, name and arguments of a builder that may be run on the word of a file.

    Raises:
        RebuildError: it may not.
    """
    source, name, arguments = builder.get("source"), str(builder.get("name")), dict(builder.get("arguments", {}))
    if source not in {"timm", "torchvision", "demo"}:
        raise RebuildError(
            f"the network was built by {builder.get('spec', source)}, which is not run on the word of a file; build it "
            "yourself and pass it as network"
        )
    if not re.fullmatch(r"[A-Za-z0-9_.]+", name) or _CHOOSE_WEIGHTS & arguments.keys():
        raise RebuildError(f"{FACTS} asks for {source} {name!r} with {arguments}, which this loader does not build")
    return source, name, arguments


def edited(network: nn.Module, edit: Mapping[str, Any]) -> nn.Module:
    """Return a network in which one module's gates are fixed; the network is changed.

    Args:
        network: the network, in evaluation mode.
        edit: `module`, its path; `products`, see `with_fixed_gates`.
    """
    path = str(edit["module"])
    try:
        module = network.get_submodule(path)
    except AttributeError as error:
        raise RebuildError(f"the network has no module {path!r}, which {FACTS} changes") from error
    return put(network, path, with_fixed_gates(module, edit["products"]))


def put(network: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Put a module at a path of a network, and return the network: the module itself where the path is empty."""
    if not path:
        return module
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)
    return network


class ModuleTracer(fx.Tracer):
    """Traces one module's own forward; its children stay calls."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Leave every child as it is."""
        return True


def trace_module(module: nn.Module) -> fx.Graph:
    """Return the graph of a module's own forward.

    Raises:
        RebuildError: the code of its forward depends on values, so that no graph stands for it.
    """
    try:
        return ModuleTracer().trace(module)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RebuildError(f"torch.fx cannot trace {type(module).__name__} ({reason})") from error


def with_fixed_gates(module: nn.Module, products: Sequence[Mapping[str, Any]]) -> nn.Module:
    """Return a module that multiplies by constants, without what computed the gates; the given one is not changed.

    Args:
        module: the multiplying module, in evaluation mode.
        products: the multiplications, each with `node`, its name in the graph of the module's forward, and
            `operand`, the position of the factor. `buffer` names the buffer that takes the factor's place, of `shape`
            and `dtype` and filled with ones; where it is None the multiplication is taken out.

    Returns:
        An `nn.Identity` where nothing is left to compute, else a graph module over the same children.

    Raises:
        RebuildError: the module cannot be traced, is not the one that was folded, or changes a tensor in place for
            the gate's sake.
    """
    graph = trace_module(module)
    nodes = {node.name: node for node in graph.nodes}
    # A stand-in with buffers of its own, so that the given module gets none.
    root = copy.copy(module)
    root._buffers = dict(root._buffers)
    for product in products:
        node, operand = nodes.get(product["node"]), product["operand"]
        if node is None or not operand < len(node.args):
            raise RebuildError(f"the forward of {type(module).__name__} has no product {product['node']!r} to change")
        if product["buffer"] is None:
            node.replace_all_uses_with(node.args[1 - operand])
            graph.erase_node(node)
            continue
        constant = torch.ones(product["shape"], dtype=getattr(torch, product["dtype"]))
        root.register_buffer(product["buffer"], constant)
        with graph.inserting_before(node):
            node.update_arg(operand, graph.create_node("get_attr", product["buffer"]))
    _drop_unused(graph, module)
    if _returns_its_input(graph):
        return nn.Identity().eval()
    return fx.GraphModule(root, graph, class_name=type(module).__name__)


def _drop_unused(graph: fx.Graph, module: nn.Module) -> None:
    """Take out the nodes that no output needs."""
    live = {node for node in graph.nodes if node.op in {"output", "placeholder"}}
    for node in reversed(graph.nodes):
        if node in live:
            live.update(node.all_input_nodes)
    for node in reversed(graph.nodes):
        if node in live:
            continue
        if changes_in_place(node, module) and node.all_input_nodes[:1] and node.all_input_nodes[0] in live:
            raise RebuildError(
                f"{type(module).__name__} changes {node.all_input_nodes[0].name} in place ({node.name}) on the way to "
                "its gate, and reads it afterwards"
            )
        graph.erase_node(node)


def changes_in_place(node: fx.Node, module: nn.Module) -> bool:
    """Return whether a node overwrites its first argument, as far as its name or its module says so."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    in_place = name.endswith("_") and not name.endswith("__")
    return node.target in _IN_PLACE or in_place or node.kwargs.get("inplace") is True


def _returns_its_input(graph: fx.Graph) -> bool:
    *before, last = graph.nodes
    inputs = [node for node in before if node.op == "placeholder"]
    return len(before) == len(inputs) >= 1 and last.args[0] is inputs[0]
