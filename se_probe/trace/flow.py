"""The flow of data in one forward pass: which operations and parameters its output needs, with or without gates.

A step is an elementary operation, the input or a parameter. What a step reads is told by where its tensors lie in
their storages, so that views, in-place operations and storages that are written in parts are followed exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from se_probe.trace.counting import additions, multiply_adds
from se_probe.trace.lineage import operation_name
from se_probe.trace.operation import Operation
from se_probe.trace.watching import WatchMode

# Operations that write all of their first argument without reading it.
OVERWRITING = {"copy", "fill", "zero"}

Edge = tuple[Operation, int]


@dataclass(frozen=True)
class Step:
    """An operation, or with none the input or a parameter.

    Attributes:
        operation: which operation of the pass.
        parameter: the name of the parameter that this step stands for.
        reads: for each argument the steps that wrote what it reads.
        multiply_adds, additions: what it costs, for the whole batch.
        elements: number of elements of its output.
    """

    operation: Operation | None = None
    parameter: str | None = None
    reads: tuple[frozenset[int], ...] = ()
    multiply_adds: int = 0
    additions: int = 0
    elements: int = 0


@dataclass
class Flow:
    """The steps of a pass in the order they were taken; `outputs` are those that wrote what the network returned."""

    images: int
    steps: list[Step] = field(default_factory=list)
    outputs: frozenset[int] = frozenset()

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
    """The writes to a storage. While `alive` is kept, no other storage takes its identity."""

    alive: StorageWeakRef
    bytes: int
    writes: list[_Write] = field(default_factory=list)


class FlowMode(WatchMode):
    """Records the flow of data in one pass of a network."""

    def __init__(self, network: nn.Module, batch: torch.Tensor) -> None:
        super().__init__()
        self.flow = Flow(images=batch.shape[0])
        self._storages: dict[int, _Storage] = {}
        self._take(Step(), [batch])
        for name, parameter in network.named_parameters():
            self._take(Step(parameter=name), [parameter])

    def end(self, output: Any) -> None:
        """Take note of what the network returned."""
        self.flow.outputs = self._read(output)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation and note what it read, wrote and cost."""
        reads = [self._read(argument) for argument in (*args, *kwargs.values())]
        if operation_name(func) in OVERWRITING and func._schema.is_mutable:
            reads[0] = frozenset()
        written = _written(func, args, kwargs)
        output = func(*args, **kwargs)
        fresh = [item for item in tensors(output) if _key(item) not in self._storages]
        if written or fresh:
            step = Step(
                self._operation,
                None,
                tuple(reads),
                multiply_adds(func, args, kwargs, output),
                additions(func, args, output),
                sum(item.numel() for item in tensors(output)),
            )
            self._take(step, [*written, *fresh])
        return output

    def _take(self, step: Step, wrote: Iterable[torch.Tensor]) -> None:
        index = len(self.flow.steps)
        self.flow.steps.append(step)
        for tensor in wrote:
            storage = self._storage(tensor)
            region = _region(tensor)
            storage.writes.append(_Write(index, None if _fills(tensor, storage) else region))

    def _storage(self, tensor: torch.Tensor) -> _Storage:
        key = _key(tensor)
        if key not in self._storages:
            storage = tensor.untyped_storage()
            self._storages[key] = _Storage(StorageWeakRef(storage), storage.nbytes())
        return self._storages[key]

    def _read(self, tree: Any) -> frozenset[int]:
        """Return the steps that wrote what the tensors in `tree` hold now."""
        return frozenset(step for tensor in tensors(tree) for step in self._writers(tensor))

    def _writers(self, tensor: torch.Tensor) -> set[int]:
        storage, region, found = self._storage(tensor), _region(tensor), set()
        for write in reversed(storage.writes):
            overlap = _overlap(region, write.region, storage)
            if overlap is not None:
                found.add(write.step)
            if overlap == "all":
                break
        return found


def tensors(tree: Any) -> list[torch.Tensor]:
    """Return the tensors in a tree of arguments or outputs."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


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
    return tensors(values)
