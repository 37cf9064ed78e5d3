"""Dispatch modes that see every elementary operation of a forward pass and the module calls around it.

They see every multiplication of a network, whether written as an operator, a function, an einsum or in a scripted
module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from se_probe.trace.operation import PRODUCTS, Operation, operation_name

Fact = TypeVar("Fact")
# A product: path of the innermost module around it, index of the module's call, index of the product in the call.
Key = tuple[str, int, int]


def product_operands(func: Any, args: Sequence[Any]) -> tuple[int, int] | None:
    """Return the positions of the multiplied tensors, None if the operation is not a product of tensors."""
    operands = PRODUCTS.get(operation_name(func))
    if operands is None or not all(isinstance(args[position], torch.Tensor) for position in operands):
        return None
    return operands


# Devices, layouts and gradient modes use different names for a layer's operation, and copy at different places.
_KINDS = {"addmm": "linear", "mm": "linear", "bmm": "linear", "baddbmm": "linear"}
_COPIES = {"clone": 0, "_to_copy": 0, "copy": 1, "contiguous": 0}
# Composite operations that appear whole in inference mode, and that count as one operation in every mode.
_WHOLE = {"conv1d", "conv2d", "conv3d", "batch_norm"}
_SHAPE_ONLY = ("new_", "empty", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like")


@cache
def decomposes(func: Any) -> bool:
    """Return whether an operation consists of others, which may be products."""
    return func._can_decompose() and not (operation_name(func) in _WHOLE and func._overloadname == "default")


def decomposed(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a composite operation as the operations that it consists of outside inference mode.

    `decompose` alone would run some, such as bilinear upsampling, as other operations.
    """
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key):
        return func._op_dk(key, *args, **kwargs)
    return func.decompose(*args, **kwargs)


@cache
def _kind_of(func: Any) -> str:
    """Return the kind of an operation, which is the same on all devices and in all gradient modes."""
    name = operation_name(func)
    if "batch_norm" in name:
        return "batch norm"
    return "convolution" if name in _WHOLE else _KINDS.get(name, name)


@cache
def is_view(func: Any) -> bool:
    """Return whether an operation returns a view of its argument."""
    aliases = [item.alias_info for item in func._schema.returns]
    return operation_name(func) == "_unsafe_view" or any(alias is not None and not alias.is_write for alias in aliases)


def reads_shape_only(name: str) -> bool:
    """Return whether an operation takes a tensor's shape, dtype and device, but not its values."""
    return name.startswith(_SHAPE_ONLY)


class Origins:
    """Origins of the tensors in one module call: the n-th operation of a kind, or the n-th argument.

    Views and copies have the origin of their source. Tensors from before the call that are not arguments have none.
    Origins are the same on every device, in every gradient mode and for every number of images.
    """

    def __init__(self, arguments: Sequence[Any] = ()) -> None:
        self._counts: Counter[str] = Counter()
        self._of: dict[int, tuple[str, int] | None] = {}
        for number, argument in enumerate(arguments):
            if isinstance(argument, torch.Tensor):
                self._of.setdefault(storage_of(argument), ("argument", number))

    def note(self, func: Any, args: Sequence[Any], output: Any) -> None:
        """Note an operation of the call."""
        if is_view(func):
            return
        kind, copied = _kind_of(func), _COPIES.get(operation_name(func))
        origin = (kind, self._counts[kind]) if copied is None else self._of.get(storage_of(args[copied]))
        self._counts[kind] += 1
        for item in [output] if isinstance(output, torch.Tensor) else tensors_in(output):
            self._of[storage_of(item)] = origin

    def of(self, tensor: torch.Tensor) -> Operation | None:
        """Return a tensor's origin."""
        origin = self._of.get(storage_of(tensor))
        return None if origin is None else Operation(*origin)


class WatchMode(TorchDispatchMode):
    """Sees and counts the elementary operations of a pass, the same inside and outside inference mode."""

    def __init__(self) -> None:
        super().__init__()
        self._operation = Operation("", 0)
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._can_decompose():
            with self:
                return decomposed(func, args, kwargs)
        name = operation_name(func)
        self._operation = Operation(name, self.counts[name])
        self.counts[name] += 1
        return self.run(func, args, kwargs)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one elementary operation, `self._operation`."""
        raise NotImplementedError


@dataclass
class Call:
    """One call of a module in the forward pass."""

    module: str  # path of the module
    index: int  # index among the module's calls
    inputs: frozenset[int] = frozenset()  # storages of its positional arguments
    origins: Origins = field(default_factory=Origins)  # origins of its tensors
    products: int = 0  # number of multiplications inside it so far
    output_shape: tuple[int, ...] | None = None  # shape of its output if that is one tensor
    args: tuple[Any, ...] = ()  # its positional arguments until it returns


class CallMode(WatchMode):
    """Keeps the stack of module calls, outermost first, and the number of calls of each module."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self._stack: list[Call] = []

    def watch(self, network: nn.Module, run: Callable[[], Any]) -> None:
        """Watch a network while `run` makes one pass; hooks are removed also after an error."""
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
        """Return a new call."""
        return Call(path, self.calls[path])

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """End a call."""
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


class ByStorage(Generic[Fact]):
    """Facts about tensors by their storage. No other storage takes the identity of one that has a fact."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[StorageWeakRef, Fact]] = {}

    def get(self, tensor: torch.Tensor) -> Fact | None:
        """Return the fact about a tensor's storage."""
        entry = self._entries.get(storage_of(tensor))
        return None if entry is None else entry[1]

    def set(self, tensor: torch.Tensor, fact: Fact) -> Fact:
        """Set the fact about a tensor's storage, and return it."""
        self._entries[storage_of(tensor)] = StorageWeakRef(tensor.untyped_storage()), fact
        return fact

    def drop(self, tensor: torch.Tensor) -> None:
        """Forget a tensor's storage."""
        self._entries.pop(storage_of(tensor), None)
