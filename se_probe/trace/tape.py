"""The operations of one forward pass as a tape, parts of which can be run again under autograd.

Tensors that a dispatch mode sees have no gradient, because it runs below autograd; operations run again from the tape
do. Only those that are needed are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from se_probe.trace.operation import Operation, Product
from se_probe.trace.watching import ByStorage, WatchMode, is_view, reads_shape_only, tensors_in


@dataclass(frozen=True)
class Ref:
    """A tensor of a pass: the output of an operation, or its `part`-th output; without an operation the input."""

    operation: Operation | None
    part: int | None = None


@dataclass(frozen=True)
class TapeStep:
    """An operation of a pass."""

    operation: Operation
    func: Any  # the function that is called
    # args, kwargs: its arguments, with a `Ref` for every tensor that the pass computed.
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]  # shapes of its outputs
    data: bool  # whether it depends on the network's input
    view: bool  # whether it returns a view of its argument

    @property
    def name(self) -> str:
        """Name of the operation."""
        return self.operation.name

    @property
    def refs(self) -> list[Ref]:
        """The tensors of the pass that it reads."""
        return [leaf for leaf in tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Ref)]

    def run(self, values: Mapping[Ref, torch.Tensor]) -> dict[Ref, torch.Tensor]:
        """Run the operation on other values of the tensors that it reads; an argument that it overwrites is copied."""
        args, kwargs = tree_map_only(Ref, values.__getitem__, (self.args, dict(self.kwargs)))
        if self.func._schema.is_mutable:
            args = (args[0].clone(), *args[1:])
        output = self.func(*args, **kwargs)
        if isinstance(output, torch.Tensor):
            return {Ref(self.operation): output}
        return {Ref(self.operation, part): item for part, item in enumerate(output) if isinstance(item, torch.Tensor)}


@dataclass
class Tape:
    """A recorded pass."""

    input_shape: tuple[int, ...]  # shape of the network's input
    steps: dict[Operation, TapeStep] = field(default_factory=dict)  # the operations in order
    counts: Mapping[str, int] = field(default_factory=dict)  # number of operations of each name
    values: dict[Ref, torch.Tensor] = field(default_factory=dict)  # copies of the requested tensors
    # Copies of the factors of the requested products.
    factors: dict[Operation, torch.Tensor] = field(default_factory=dict)

    def depends(self, ref: Ref) -> bool:
        """Whether a tensor depends on the network's input."""
        return ref.operation not in self.steps or self.steps[ref.operation].data

    def shape(self, ref: Ref) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.input_shape if ref.operation is None else self.steps[ref.operation].shapes[ref.part or 0]

    def run(self, operations: Iterable[Operation], values: Mapping[Ref, torch.Tensor]) -> dict[Ref, torch.Tensor]:
        """Run operations in order from given tensors, and return all tensors."""
        known = dict(values)
        for operation in operations:
            known |= self.steps[operation].run(known)
        return known


@dataclass
class _Stored:
    """The tensors on one storage, and whether it depends on the network's input."""

    data: bool = False
    refs: dict[tuple[Any, ...], Ref] = field(default_factory=dict)


class LastOperation(Exception):  # noqa: N818 it is not an error
    """Ends a pass early."""


class TapeMode(WatchMode):
    """Records the operations of a pass.

    A tensor is identified by its region of a storage. When an operation writes into a storage, all earlier tensors on
    it become unknown.

    Args:
        batch: the network's input.
        operations: the operations to keep, None for all.
        values: the tensors to copy when they are computed.
        products: the multiplications whose factors are copied.
        last: the operation at which the pass ends with `LastOperation`.
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
        self.tape = Tape(tuple(batch.shape), counts=self.counts)
        self._operations, self._values = operations, values
        self._last = last
        self._sources = {ref.operation for ref in values}
        self._products = {product.operation: product.operand for product in products}
        self._storages: ByStorage[_Stored] = ByStorage()
        self._know(batch, Ref(None), data=True)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation and keep it."""
        operation = self._operation
        if operation in self._products:
            self.tape.factors[operation] = args[self._products[operation]].clone()
        if operation == self._last:
            raise LastOperation
        read = [self._storages.get(tensor) for tensor in tensors_in((args, kwargs))]
        data = not reads_shape_only(operation.name) and any(stored is not None and stored.data for stored in read)
        kept = self._operations is None or operation in self._operations
        given = tree_map_only(torch.Tensor, self._ref, (args, kwargs)) if kept else ((), {})
        output = func(*args, **kwargs)
        if func._schema.is_mutable and read and read[0] is not None:
            read[0].refs.clear()
        if not kept and operation not in self._sources:
            return output
        parts = [output] if isinstance(output, torch.Tensor) else list(output) if output is not None else []
        for part, item in enumerate(parts):
            if isinstance(item, torch.Tensor):
                self._know(item, Ref(operation, None if item is output else part), data)
        if kept:
            shapes = tuple(tuple(item.shape) if isinstance(item, torch.Tensor) else () for item in parts)
            self.tape.steps[operation] = TapeStep(operation, func, given[0], given[1], shapes, data, is_view(func))
        return output

    def _know(self, tensor: torch.Tensor, ref: Ref, data: bool) -> None:
        stored = self._storages.get(tensor) or self._storages.set(tensor, _Stored())
        stored.data |= data
        # A second view of the same elements is the first one again.
        stored.refs.setdefault(_region(tensor), ref)
        if ref in self._values:
            self.tape.values[ref] = tensor.clone()

    def _ref(self, tensor: torch.Tensor) -> Any:
        stored = self._storages.get(tensor)
        if stored is None:
            return tensor
        unknown = Ref(Operation("written in parts", 0)) if stored.data else tensor
        return stored.refs.get(_region(tensor), unknown)


def _region(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
