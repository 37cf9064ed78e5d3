"""The operations of one forward pass as a tape, parts of which can be run again under autograd.

A dispatch mode is below autograd, so that what it sees has no gradient. Operations that are run again from the tape
have one, and only those that are needed are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_map_only

from se_probe.trace.operation import Operation, Product
from se_probe.trace.watching import WatchMode, storage_of, tensors_in

# Operations that take a tensor's shape, dtype and device, but not its values.
_SHAPE_ONLY = ("new_", "empty", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like")


@dataclass(frozen=True)
class Ref:
    """A tensor of a pass: the output of an operation, or its `part`-th output; without an operation the input."""

    operation: Operation | None
    part: int | None = None


@dataclass(frozen=True)
class Step:
    """An operation of a pass.

    Attributes:
        operation: which one.
        func: what is called.
        args, kwargs: its arguments, with a `Ref` for every tensor that the pass computed.
        shapes: shapes of its outputs.
        data: whether it depends on the network's input.
        view: whether it returns a view of its argument.
    """

    operation: Operation
    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    data: bool
    view: bool

    @property
    def name(self) -> str:
        """Name of the operation."""
        return self.operation.name

    @property
    def refs(self) -> list[Ref]:
        """The tensors of the pass that it reads."""
        return refs_in((self.args, self.kwargs))

    def run(self, values: Mapping[Ref, torch.Tensor]) -> dict[Ref, torch.Tensor]:
        """Run the operation on other values of the tensors that it reads; what it would overwrite is copied."""
        args, kwargs = tree_map_only(Ref, values.__getitem__, (self.args, dict(self.kwargs)))
        if self.func._schema.is_mutable:
            args = (args[0].clone(), *args[1:])
        output = self.func(*args, **kwargs)
        if isinstance(output, torch.Tensor):
            return {Ref(self.operation): output}
        return {Ref(self.operation, part): item for part, item in enumerate(output) if isinstance(item, torch.Tensor)}


@dataclass
class Tape:
    """What was kept of a pass.

    Attributes:
        input_shape: shape of the network's input.
        steps: the operations in order.
        counts: how many operations of each name the pass made.
        values: copies of tensors that were asked for.
        factors: copies of the factors of products that were asked for.
    """

    input_shape: tuple[int, ...]
    steps: dict[Operation, Step] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    values: dict[Ref, torch.Tensor] = field(default_factory=dict)
    factors: dict[Operation, torch.Tensor] = field(default_factory=dict)

    def depends(self, ref: Ref) -> bool:
        """Whether a tensor depends on the network's input."""
        return ref.operation not in self.steps or self.steps[ref.operation].data

    def shape(self, ref: Ref) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.input_shape if ref.operation is None else self.steps[ref.operation].shapes[ref.part or 0]


def run(steps: Iterable[Step], values: Mapping[Ref, torch.Tensor]) -> dict[Ref, torch.Tensor]:
    """Run steps in order from given tensors, and return all tensors."""
    known = dict(values)
    for step in steps:
        known |= step.run(known)
    return known


def refs_in(tree: Any) -> list[Ref]:
    """Return the refs in nested arguments."""
    found: list[Ref] = []
    tree_map_only(Ref, found.append, tree)
    return found


@dataclass
class _Stored:
    """The tensors on one storage. While `alive` is kept, no other storage takes its identity."""

    alive: StorageWeakRef
    data: bool = False
    refs: dict[tuple[Any, ...], Ref] = field(default_factory=dict)


class LastOperation(Exception):  # noqa: N818 it is no error
    """Ends a pass of which the rest is not needed."""


class TapeMode(WatchMode):
    """Keeps the operations of a pass.

    A tensor is known by what it covers of its storage. An operation that writes into a storage makes all earlier
    tensors on it unknown, so that nothing is mistaken for what it was before.

    Args:
        batch: the network's input.
        operations: which operations are kept, None for all.
        values: which tensors are copied when they are computed.
        products: multiplications whose factors are copied.
        last: the operation after which the pass ends with `LastOperation`.
    """

    def __init__(
        self,
        batch: torch.Tensor,
        operations: Set[Operation] | None = None,
        values: Set[Ref] = frozenset(),
        products: Iterable[Product] = (),
        last: Operation | None = None,
    ) -> None:
        super().__init__()
        self.tape = Tape(tuple(batch.shape), counts=self._counts)
        self._operations, self._values = operations, values
        self._last = last
        self._sources = {ref.operation for ref in values}
        self._products = {product.operation: product.operand for product in products}
        self._storages: dict[int, _Stored] = {}
        self._know(batch, Ref(None), data=True)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation and keep it."""
        operation = self._operation
        if operation in self._products:
            self.tape.factors[operation] = args[self._products[operation]].clone()
        if operation == self._last:
            raise LastOperation
        data = not operation.name.startswith(_SHAPE_ONLY) and any(map(self._is_data, tensors_in((args, kwargs))))
        kept = self._operations is None or operation in self._operations
        given = tree_map_only(torch.Tensor, self._ref, (args, kwargs)) if kept else ((), {})
        output = func(*args, **kwargs)
        self._forget_written(func, args)
        if not kept and operation not in self._sources:
            return output
        parts = [output] if isinstance(output, torch.Tensor) else list(output) if output is not None else []
        for part, item in enumerate(parts):
            if isinstance(item, torch.Tensor):
                self._know(item, Ref(operation, None if item is output else part), data)
        if kept:
            shapes = tuple(tuple(item.shape) if isinstance(item, torch.Tensor) else () for item in parts)
            self.tape.steps[operation] = Step(operation, func, given[0], given[1], shapes, data, _is_view(func))
        return output

    def _know(self, tensor: torch.Tensor, ref: Ref, data: bool) -> None:
        key = storage_of(tensor)
        if key not in self._storages:
            self._storages[key] = _Stored(StorageWeakRef(tensor.untyped_storage()))
        stored = self._storages[key]
        stored.data |= data
        # A second view of the same elements is the first one again.
        stored.refs.setdefault(_region(tensor), ref)
        if ref in self._values:
            self.tape.values[ref] = tensor.clone()

    def _forget_written(self, func: Any, args: tuple[Any, ...]) -> None:
        if func._schema.is_mutable and args and isinstance(args[0], torch.Tensor):
            stored = self._storages.get(storage_of(args[0]))
            if stored is not None:
                stored.refs.clear()

    def _is_data(self, tensor: torch.Tensor) -> bool:
        stored = self._storages.get(storage_of(tensor))
        return stored is not None and stored.data

    def _ref(self, tensor: torch.Tensor) -> Any:
        stored = self._storages.get(storage_of(tensor))
        if stored is None:
            return tensor
        unknown = Ref(Operation("written in parts", 0)) if stored.data else tensor
        return stored.refs.get(_region(tensor), unknown)


def _region(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _is_view(func: Any) -> bool:
    aliases = [item.alias_info for item in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases) or func.__name__.startswith(
        "_unsafe_view"
    )
