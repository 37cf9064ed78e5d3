"""Dispatch modes that see every elementary operation of a forward pass and the module calls around it.

A dispatch mode sees every multiplication that the network makes, whoever asked for it: an operator, a functional call,
an einsum or a scripted module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from se_probe.trace.lineage import operation_name
from se_probe.trace.operation import Operation

# Path and call of the innermost module around a product, and which product of that call it is.
Key = tuple[str, int, int]
# Positions of the two multiplied operands: elementwise products, and matrix products, which einsum and matmul become.
PRODUCTS = {"mul": (0, 1), "addcmul": (1, 2), "bmm": (0, 1), "baddbmm": (1, 2)}


def product_operands(func: Any, args: Sequence[Any]) -> tuple[int, int] | None:
    """Return the positions of the multiplied tensors, or None where the operation is no product of tensors."""
    operands = PRODUCTS.get(operation_name(func))
    if operands is None or not all(isinstance(args[position], torch.Tensor) for position in operands):
        return None
    return operands


# Devices, layouts and gradient modes differ in how they name a layer's operation and in where they copy.
_KINDS = {"addmm": "linear", "mm": "linear", "bmm": "linear", "baddbmm": "linear"}
_COPIES = {"clone": 0, "_to_copy": 0, "copy": 1, "contiguous": 0}
# Composite operations that inference mode shows whole, and that are one operation in every mode.
_WHOLE = {"conv1d", "conv2d", "conv3d", "batch_norm"}


@cache
def decomposes(func: Any) -> bool:
    """Return whether an operation is made of others, among which there may be products."""
    return func._can_decompose() and not (operation_name(func) in _WHOLE and func._overloadname == "default")


def decomposed(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what a composite operation returns, made of the operations of which it is outside of inference mode.

    Some, such as bilinear upsampling, have a Python version of other operations, which `decompose` would prefer.
    """
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key):
        return func._op_dk(key, *args, **kwargs)
    return func.decompose(*args, **kwargs)


@cache
def _facts(func: Any) -> tuple[str, bool, int | None]:
    """Return the kind of an operation, whether it returns a view, and which argument it copies."""
    name = operation_name(func)
    if name in _WHOLE or "batch_norm" in name:
        kind = "batch norm" if "batch_norm" in name else "convolution"
    else:
        kind = _KINDS.get(name, name)
    aliases = [item.alias_info for item in func._schema.returns]
    is_view = name == "_unsafe_view" or any(alias is not None and not alias.is_write for alias in aliases)
    return kind, is_view, _COPIES.get(name)


class Origins:
    """What computed each tensor inside one module call: the n-th operation of its kind, or the n-th argument.

    Views and copies have the origin of the tensor that they show. What is older than the call and no argument of it
    has no origin. The answer is the same on every device, in every gradient mode and for every number of images.
    """

    def __init__(self, arguments: Sequence[Any] = ()) -> None:
        self._counts: dict[str, int] = {}
        self._of: dict[int, tuple[str, int] | None] = {}
        for number, argument in enumerate(arguments):
            if isinstance(argument, torch.Tensor):
                self._of.setdefault(storage_of(argument), ("argument", number))

    def note(self, func: Any, args: Sequence[Any], output: Any) -> None:
        """Take note of an operation of the call that was computed."""
        kind, is_view, copied = _facts(func)
        if is_view:
            return
        index = self._counts.get(kind, 0)
        self._counts[kind] = index + 1
        origin = (kind, index) if copied is None else self._of.get(storage_of(args[copied]))
        if isinstance(output, torch.Tensor):
            self._of[storage_of(output)] = origin
        else:
            self._of.update((storage_of(item), origin) for item in tensors_in(output))

    def of(self, tensor: torch.Tensor) -> Operation | None:
        """Return a tensor's origin."""
        origin = self._of.get(storage_of(tensor))
        return None if origin is None else Operation(*origin)


class WatchMode(TorchDispatchMode):
    """Sees and counts the elementary operations of a pass, the same in inference mode as outside of it."""

    def __init__(self) -> None:
        super().__init__()
        self._operation = Operation("", 0)
        self._counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._can_decompose():
            with self:
                return decomposed(func, args, kwargs)
        name = operation_name(func)
        self._operation = Operation(name, self._counts[name])
        self._counts[name] += 1
        return self.run(func, args, kwargs)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one elementary operation, `self._operation`."""
        raise NotImplementedError


@dataclass
class Call:
    """One call of a module in the forward pass.

    Attributes:
        module: path of the module.
        index: which of the module's calls this is, from 0.
        inputs: storages of its positional arguments.
        origins: what computed its tensors.
        products: number of multiplications made inside it so far.
        output_shape: shape of its output where that is one tensor.
        args: its positional arguments while it lasts.
    """

    module: str
    index: int
    inputs: frozenset[int] = frozenset()
    origins: Origins = field(default_factory=Origins)
    products: int = 0
    output_shape: tuple[int, ...] | None = None
    args: tuple[Any, ...] = ()


class CallMode(WatchMode):
    """Keeps the stack of module calls, outermost first, and how often each module was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self._stack: list[Call] = []

    def watch(self, network: nn.Module, run: Callable[[], Any]) -> None:
        """Watch a network while `run` makes one pass of it. All hooks are removed, whatever it raises."""
        with ExitStack() as block:
            for path, module in network.named_modules():
                block.callback(module.register_forward_pre_hook(self._entering(path)).remove)
                block.callback(module.register_forward_hook(self.leave, always_call=True).remove)
            block.enter_context(torch.no_grad())
            block.enter_context(self)
            run()

    def _entering(self, path: str) -> Any:
        def enter(_module: nn.Module, args: Any) -> None:
            self._stack.append(self.begin(path, args))
            self.calls[path] += 1

        return enter

    def begin(self, path: str, args: Any) -> Call:
        """Return the call that begins."""
        return Call(path, self.calls[path])

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """Note the end of a call."""
        self._stack.pop()

    def count_product(self) -> Key:
        """Count a product in every call around it and return its key."""
        for call in self._stack:
            call.products += 1
        inner = self._stack[-1]
        return inner.module, inner.index, inner.products - 1


def storage_of(tensor: torch.Tensor) -> int:
    """Return the identity of a tensor's storage, which views share; another storage may have it afterwards."""
    return int(tensor.untyped_storage()._cdata)


def tensors_in(tree: Any) -> list[torch.Tensor]:
    """Return the tensors in nested tuples, lists and dictionaries."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def storages_in(tree: Any) -> frozenset[int]:
    """Return the storages of the tensors in nested tuples, lists and dictionaries."""
    return frozenset(map(storage_of, tensors_in(tree)))
