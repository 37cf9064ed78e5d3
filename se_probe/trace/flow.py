"""The flow of data in one forward pass: which operations and parameters its output needs, and who reads what.

A step is an elementary operation, the input or a parameter. What a step reads is told by where its tensors lie in
their storages, so that views, in-place operations and storages that are written in parts are followed exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_map

from se_probe.trace.counting import additions, multiply_adds
from se_probe.trace.lineage import operation_name
from se_probe.trace.operation import Operation
from se_probe.trace.watching import WatchMode, storage_of, tensors_in

# Operations that write all of their first argument without reading it.
OVERWRITING = {"copy", "fill", "zero"}

Edge = tuple[Operation, int]


@dataclass(frozen=True)
class Value:
    """The content of a storage between two operations that write it; version 0 is older than the pass."""

    storage: int
    version: int


@dataclass(frozen=True)
class Operand:
    """A tensor as an operation takes or gives it; `whole` says whether it shows its storage once and entirely."""

    value: Value
    size: tuple[int, ...]
    stride: tuple[int, ...]
    whole: bool


@dataclass(frozen=True)
class Step:
    """An operation, or with none the input or a parameter. Views are no steps.

    Attributes:
        operation: which operation of the pass.
        parameter: the name of the parameter that this step stands for.
        reads: for each argument the steps that wrote what it reads.
        multiply_adds, additions: what it costs, for the whole batch.
        elements: number of elements of its output.
        args: its positional arguments, with an `Operand` for each tensor.
        outputs: what it computed or wrote.
    """

    operation: Operation | None = None
    parameter: str | None = None
    reads: tuple[frozenset[int], ...] = ()
    multiply_adds: int = 0
    additions: int = 0
    elements: int = 0
    args: tuple[Any, ...] = ()
    outputs: tuple[Operand, ...] = ()

    @property
    def name(self) -> str:
        """Name of the operation."""
        return self.operation.name if self.operation else ""


@dataclass
class Flow:
    """A forward pass as steps.

    Attributes:
        images: number of images.
        steps: the steps in the order they were taken.
        outputs: the steps that wrote what the network returned.
        readers: value → numbers of the steps that read it.
        writers: value → number of the operation that computed it.
        returned: storages of what the network returned.
        parameters: storage → names of the parameters and buffers in it.
    """

    images: int
    steps: list[Step] = field(default_factory=list)
    outputs: frozenset[int] = frozenset()
    readers: dict[Value, list[int]] = field(default_factory=lambda: defaultdict(list))
    writers: dict[Value, int] = field(default_factory=dict)
    returned: frozenset[int] = frozenset()
    parameters: Mapping[int, list[str]] = field(default_factory=dict)

    @property
    def operations(self) -> list[Step]:
        """The steps that are operations."""
        return [step for step in self.steps if step.operation is not None]

    def writer(self, value: Value) -> Step | None:
        """Return the operation that computed a value, None for inputs and parameters."""
        return self.steps[self.writers[value]] if value in self.writers else None

    def read_by(self, value: Value) -> list[Step]:
        """Return the operations that read a value."""
        return [self.steps[number] for number in self.readers.get(value, ())]

    def needed(self, cut: Set[Edge] = frozenset()) -> set[int]:
        """Return the steps that the output needs when the arguments in `cut` are constants."""
        found: set[int] = set()
        waiting = set(self.outputs)
        while waiting:
            index = waiting.pop()
            found.add(index)
            step = self.steps[index]
            for position, reads in enumerate(step.reads):
                if step.operation is None or (step.operation, position) not in cut:
                    waiting |= reads - found
        return found

    def of_the_input(self) -> set[int]:
        """Return the steps whose cost grows with the batch: those that depend on the network's input."""
        found = {0}
        for index, step in enumerate(self.steps):
            if any(not found.isdisjoint(reads) for reads in step.reads):
                found.add(index)
        return found


def follow(network: nn.Module, batch: torch.Tensor) -> Flow:
    """Run a network in evaluation mode once and return the flow of its data."""
    mode = FlowMode(network, batch)
    with torch.no_grad(), mode:
        output = network(batch)
    mode.end(output)
    return mode.flow


@dataclass(frozen=True)
class _Region:
    """The elements of a storage that a tensor covers."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    width: int

    def mask(self, length: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        covered = np.zeros(length, dtype=bool)
        self.on(covered)[...] = True
        return covered

    def on(self, values: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.size, self.stride)


@dataclass(frozen=True)
class _Write:
    """What a step wrote of a storage: a region, or with none all of it."""

    step: int
    region: _Region | None = None


@dataclass
class _Storage:
    """The writes to a storage. While `alive` is kept, no other storage takes its identity.

    `version` counts the operations that wrote it.
    """

    alive: StorageWeakRef
    bytes: int
    version: int = 0
    writes: list[_Write] = field(default_factory=list)


class FlowMode(WatchMode):
    """Records the flow of data in one pass of a network."""

    def __init__(self, network: nn.Module, batch: torch.Tensor) -> None:
        super().__init__()
        self.flow = Flow(images=batch.shape[0], parameters=_names(network))
        self._storages: dict[int, _Storage] = {}
        self._take(Step(), [batch])
        for name, parameter in network.named_parameters():
            self._take(Step(parameter=name), [parameter])

    def end(self, output: Any) -> None:
        """Take note of what the network returned."""
        self.flow.outputs = self._read(output)
        self.flow.returned = frozenset(map(storage_of, tensors_in(output)))

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation and note what it read, wrote and cost."""
        reads = [self._read(argument) for argument in (*args, *kwargs.values())]
        if operation_name(func) in OVERWRITING and func._schema.is_mutable:
            reads[0] = frozenset()
        operands = tree_map(self._operand, args)
        values = {self._operand(item).value for item in tensors_in((args, kwargs))}
        written = _written(func, args, kwargs)
        output = func(*args, **kwargs)
        made = tensors_in(output)
        fresh = [item for item in made if storage_of(item) not in self._storages]
        if written or fresh or not made:
            for value in values:
                self.flow.readers[value].append(len(self.flow.steps))
            step = Step(
                self._operation,
                None,
                tuple(reads),
                multiply_adds(func, args, kwargs, output) if made else 0,
                additions(func, args, output) if made else 0,
                sum(item.numel() for item in made),
                tuple(operands),
            )
            self._take(step, [*written, *fresh])
        return output

    def _take(self, step: Step, wrote: Iterable[torch.Tensor]) -> None:
        index, wrote = len(self.flow.steps), list(wrote)
        for tensor in wrote:
            storage = self._storage(tensor)
            region = _region(tensor)
            storage.writes.append(_Write(index, None if _fills(tensor, storage) else region))
        if step.operation is not None:
            for storage in {id(item): item for item in map(self._storage, wrote)}.values():
                storage.version += 1
            step = replace(step, outputs=tuple(map(self._operand, wrote)))
            self.flow.writers |= {output.value: index for output in step.outputs}
        self.flow.steps.append(step)

    def _operand(self, item: Any) -> Any:
        if not isinstance(item, torch.Tensor):
            return item
        storage = self._storage(item)
        whole = item.numel() * item.element_size() == storage.bytes
        return Operand(Value(storage_of(item), storage.version), tuple(item.shape), item.stride(), whole)

    def _storage(self, tensor: torch.Tensor) -> _Storage:
        key = storage_of(tensor)
        if key not in self._storages:
            storage = tensor.untyped_storage()
            self._storages[key] = _Storage(StorageWeakRef(storage), storage.nbytes())
        return self._storages[key]

    def _read(self, tree: Any) -> frozenset[int]:
        """Return the steps that wrote what the tensors in `tree` hold now."""
        return frozenset(step for tensor in tensors_in(tree) for step in self._writers(tensor))

    def _writers(self, tensor: torch.Tensor) -> set[int]:
        storage, region, found = self._storage(tensor), _region(tensor), set()
        for write in reversed(storage.writes):
            overlap = _overlap(region, write.region, storage)
            if overlap is not None:
                found.add(write.step)
            if overlap == "all":
                break
        return found


def _names(network: nn.Module) -> dict[int, list[str]]:
    names: dict[int, list[str]] = defaultdict(list)
    named = (network.named_parameters(remove_duplicate=False), network.named_buffers(remove_duplicate=False))
    for name, tensor in (item for items in named for item in items):
        names[storage_of(tensor)].append(name)
    return names


def _region(tensor: torch.Tensor) -> _Region:
    return _Region(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.element_size())


def _fills(tensor: torch.Tensor, storage: _Storage) -> bool:
    spread = all(step > 0 for size, step in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)
    return spread and tensor.numel() * tensor.element_size() == storage.bytes


def _overlap(read: _Region, written: _Region | None, storage: _Storage) -> str | None:
    """Say whether a write reaches "all" or "some" of what is read, or None of it."""
    if written is None or written == read:
        return "all"
    if written.width != read.width:
        return "some"
    reached = read.on(written.mask(storage.bytes // read.width))
    if reached.all():
        return "all"
    return "some" if reached.any() else None


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Return the arguments that an operation writes to."""
    marked = [item for item in enumerate(func._schema.arguments) if item[1].alias_info and item[1].alias_info.is_write]
    values = [args[place] if place < len(args) else kwargs.get(argument.name) for place, argument in marked]
    return tensors_in(values)
