"""Who computes and who reads every tensor of a forward pass: one real pass, watched operation by operation.

A tensor is followed through its storage, so that views need no special case; an operation that overwrites a storage
makes a new version of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from se_probe.trace.lineage import operation_name
from se_probe.trace.watching import WatchMode, storage_of, tensors_in


@dataclass(frozen=True)
class Value:
    """The content of a storage between two operations that write it."""

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
    """One elementary operation that computes something; views are none. Tensors in `args` stand as operands."""

    name: str
    args: tuple[Any, ...]
    reads: frozenset[Value]
    outputs: tuple[Operand, ...]


@dataclass
class Flow:
    """A forward pass as operations on values.

    Attributes:
        steps: the operations, in order.
        readers: value → numbers of the steps that read it.
        writers: value → number of the step that computed it.
        returned: storages of what the network returned.
        parameters: storage → names of the parameters and buffers in it.
    """

    steps: list[Step] = field(default_factory=list)
    readers: dict[Value, list[int]] = field(default_factory=lambda: defaultdict(list))
    writers: dict[Value, int] = field(default_factory=dict)
    returned: frozenset[int] = frozenset()
    parameters: Mapping[int, list[str]] = field(default_factory=dict)

    def writer(self, value: Value) -> Step | None:
        """Return the operation that computed a value, None for inputs and parameters."""
        return self.steps[self.writers[value]] if value in self.writers else None

    def read_by(self, value: Value) -> list[Step]:
        """Return the operations that read a value."""
        return [self.steps[number] for number in self.readers.get(value, ())]


def flow_of(network: nn.Module, batch: torch.Tensor) -> Flow:
    """Run one forward pass and return its data flow."""
    watcher = _Watcher()
    with torch.no_grad(), watcher:
        output = network(batch)
    watcher.flow.returned = frozenset(map(storage_of, tensors_in(output)))
    watcher.flow.parameters = _parameters(network)
    return watcher.flow


def _parameters(network: nn.Module) -> dict[int, list[str]]:
    names: dict[int, list[str]] = defaultdict(list)
    named = (network.named_parameters(remove_duplicate=False), network.named_buffers(remove_duplicate=False))
    for name, tensor in (item for items in named for item in items):
        names[storage_of(tensor)].append(name)
    return names


class _Watcher(WatchMode):
    """Notes operations; every tensor is held, so that no storage takes the identity of another."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = Flow()
        self._versions = Counter[int]()
        self._held: list[torch.Tensor] = []

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = tensors_in((args, kwargs))
        operands = tree_map(self._operand, args)
        reads = frozenset(self._operand(item).value for item in given)
        output = func(*args, **kwargs)
        made = tensors_in(output)
        self._held += [*given, *made]
        if func._schema.is_mutable:
            self._note(operation_name(func), operands, reads, made or given)
            return output
        shared = {storage_of(item) for item in given}
        new = [item for item in made if storage_of(item) not in shared]
        if new or not made:
            self._note(operation_name(func), operands, reads, new)
        return output

    def _note(self, name: str, args: Any, reads: frozenset[Value], made: list[torch.Tensor]) -> None:
        number = len(self.flow.steps)
        for storage in {storage_of(item) for item in made}:
            self._versions[storage] += 1
        outputs = tuple(self._operand(item) for item in made)
        for value in reads:
            self.flow.readers[value].append(number)
        for output in outputs:
            self.flow.writers[output.value] = number
        self.flow.steps.append(Step(name, tuple(args), reads, outputs))

    def _operand(self, item: Any) -> Any:
        if not isinstance(item, torch.Tensor):
            return item
        storage = storage_of(item)
        whole = item.numel() * item.element_size() == item.untyped_storage().nbytes()
        return Operand(Value(storage, self._versions[storage]), tuple(item.shape), item.stride(), whole)
