"""Rebuild a folded network from its folder. It needs torch, safetensors and the library that built the network.

>>> from load import load
>>> network = load()  # in evaluation mode

`se-probe fold` copies this file beside the weights as `load.py`. se-probe folds and loads with it too, so that both
make the same network. Nothing is unpickled. Every name and value of `folded.json` is checked against what a fold
writes before it is used: no path in it is opened, none of its text becomes code, and of constructors only those of
timm's networks, torchvision's classifiers and se-probe's own are called, without weights and without a download.
Pass a network of your own as `network`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from torch import fx, nn

SCHEMA = 1
WEIGHTS, FACTS = "model.safetensors", "folded.json"
# Arguments of constructors that read or download something.
_READS = re.compile(r"pretrained.*|weights.*|checkpoint_path|cache_dir|progress")
_PATH = re.compile(r"(\w+(\.\w+)*)?", re.ASCII)
_BUFFER = re.compile(r"fixed_gate_\d{1,4}", re.ASCII)
_NODE = re.compile(r"[A-Za-z_]\w{0,199}", re.ASCII)
_DTYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# Values of one constant: a feature map has fewer channels by far.
_LARGEST = 2**24
_IN_PLACE = {operator.imul, operator.iadd, operator.isub, operator.itruediv}


class RebuildError(Exception):
    """A network cannot be rebuilt, or a module cannot be changed; the message is one line."""


def load(folder: str | Path | None = None, network: nn.Module | None = None) -> nn.Module:
    """Return the folded network of a folder, in evaluation mode, on the CPU and without gradients.

    Args:
        folder: folder of `folded.json` and `model.safetensors`; that of this file by default.
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
    """Return the content of `folded.json`; what rebuilding needs is checked."""
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        schema, builder, edits = facts["schema"], facts["builder"], facts["edits"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RebuildError(f"{folder} holds no readable {FACTS} ({type(error).__name__})") from error
    if schema != SCHEMA:
        raise RebuildError(f"{folder / FACTS} has schema {schema!r}; this loader reads schema {SCHEMA}")
    if not isinstance(builder, dict) or not isinstance(edits, list) or not all(map(_is_edit, edits)):
        raise RebuildError(f"{folder / FACTS} describes no change that a fold makes; it was changed, or is damaged")
    return dict(facts)


def _is_edit(edit: object) -> bool:
    """Whether a value of `edits` is one that a fold writes."""
    products = edit.get("products") if isinstance(edit, dict) and _matches(_PATH, edit.get("module")) else None
    return isinstance(products, list) and all(map(_is_product, products))


def _is_product(product: object) -> bool:
    if not isinstance(product, dict) or not _matches(_NODE, product.get("node")):
        return False
    operand, shape = product.get("operand"), product.get("shape")
    if product.get("buffer", "") is None:
        return type(operand) is int and operand in (0, 1)
    return (
        type(operand) is int
        and operand in (0, 1, 2)
        and _matches(_BUFFER, product.get("buffer"))
        and product.get("dtype") in list(_DTYPES)
        and isinstance(shape, list)
        and all(type(length) is int and length > 0 for length in shape)
        and math.prod(shape) <= _LARGEST
    )


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


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
    """Return an untrained network from the builder in `folded.json`; nothing is downloaded.

    Raises:
        RebuildError: the builder may not be called by a file, or it refuses its arguments.
    """
    source, name, arguments = checked_builder(builder)
    try:
        return _MAKERS[source](name, arguments)
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RebuildError(f"{source} does not build {name!r} with {arguments} ({error})") from error


def _torchvision(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    models = import_module("torchvision.models")
    # Segmentation and detection networks would download a backbone.
    if name not in models.list_models(module=models):
        raise RebuildError(
            f"torchvision has no classification network {name!r}; build it yourself and pass it as network"
        )
    network: nn.Module = models.get_model(name, weights=None, **arguments)
    return network


_MAKERS: Mapping[str, Callable[[str, Mapping[str, Any]], nn.Module]] = {
    "timm": lambda name, arguments: import_module("timm").create_model(name, pretrained=False, **arguments),
    "torchvision": _torchvision,
    "demo": lambda name, _arguments: import_module("se_probe.demo").demo_network(name),
    "photo": lambda name, _arguments: import_module("se_probe.demo").photo_network(name),
}


def checked_builder(builder: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return source, name and arguments of a builder.

    Raises:
        RebuildError: the builder may not be called by a file.
    """
    source, name, arguments = builder.get("source"), builder.get("name"), builder.get("arguments", {})
    if not isinstance(source, str) or source not in _MAKERS:
        raise RebuildError(
            f"the network was built by {builder.get('spec', source)}, which is not run on the word of a file; build it "
            "yourself and pass it as network"
        )
    fine = isinstance(arguments, dict) and all(_is_argument(*item) for item in arguments.items())
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.]+", name) or not fine:
        raise RebuildError(f"{FACTS} asks for {source} {name!r} with {arguments}, which this loader does not build")
    return source, name, dict(arguments)


def _is_argument(name: str, value: object) -> bool:
    """Whether a file may give a constructor this argument: a plain value, and nothing that reads a file."""
    values = value if isinstance(value, list) else [value]
    plain = all(item is None or isinstance(item, str | int | float) for item in values)
    return plain and name.isidentifier() and not name.startswith("_") and not _READS.fullmatch(name)


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
    fixed = with_fixed_gates(module, edit["products"])
    if not path:
        return fixed
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, fixed)
    return network


class _ModuleTracer(fx.Tracer):
    """Traces one module's own forward; its children stay calls."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return True."""
        return True


def trace_module(module: nn.Module) -> fx.Graph:
    """Return the graph of a module's own forward.

    Raises:
        RebuildError: torch.fx cannot trace it, for example because the forward branches on values.
    """
    try:
        return _ModuleTracer().trace(module)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RebuildError(f"torch.fx cannot trace {type(module).__name__} ({reason})") from error


def with_fixed_gates(module: nn.Module, products: Sequence[Mapping[str, Any]]) -> nn.Module:
    """Return a module that multiplies by constants, without the computation of the gates; the given one stays as is.

    Args:
        module: the multiplying module, in evaluation mode.
        products: the multiplications, each with `node`, its name in the graph of the module's forward, and
            `operand`, the position of the factor. `buffer` names the buffer that replaces the factor, of `shape` and
            `dtype` and filled with ones; if it is None the multiplication is removed.

    Returns:
        An `nn.Identity` if nothing is left to compute, else a graph module over the same children.

    Raises:
        RebuildError: the module cannot be traced, is not the one that was folded, or computes the gate in a tensor
            that it reads afterwards.
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
        if hasattr(root, product["buffer"]):
            raise RebuildError(f"{type(module).__name__} has an attribute {product['buffer']!r} of its own")
        root.register_buffer(product["buffer"], torch.ones(product["shape"], dtype=_DTYPES[product["dtype"]]))
        with graph.inserting_before(node):
            node.update_arg(operand, graph.create_node("get_attr", product["buffer"]))
    _drop_unused(graph, module)
    if _returns_its_input(graph):
        return nn.Identity().eval()
    return fx.GraphModule(root, graph, class_name=type(module).__name__)


def _drop_unused(graph: fx.Graph, module: nn.Module) -> None:
    """Remove the nodes that no output needs."""
    inputs = {node: node.all_input_nodes[0] for node in graph.nodes if node.all_input_nodes}
    in_place = {node: first for node, first in inputs.items() if _changes_in_place(node, module)}
    graph.eliminate_dead_code(is_impure_node=lambda node: node.op in {"output", "placeholder"})
    left = set(graph.nodes)
    for node, first in in_place.items():
        if node not in left and first in left:
            raise RebuildError(
                f"{type(module).__name__} changes {first.name} in place ({node.name}) on the way to its gate, and "
                "reads it afterwards"
            )


def _changes_in_place(node: fx.Node, module: nn.Module) -> bool:
    """Whether a node overwrites its first argument, by its name or its module."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    in_place = name.endswith("_") and not name.endswith("__")
    return node.target in _IN_PLACE or in_place or node.kwargs.get("inplace") is True


def _returns_its_input(graph: fx.Graph) -> bool:
    *before, last = graph.nodes
    inputs = [node for node in before if node.op == "placeholder"]
    return len(before) == len(inputs) >= 1 and last.args[0] is inputs[0]
