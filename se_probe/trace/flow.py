"""Data flow in one forward pass: which steps the output needs, which tensors a step reads, and what it costs.

A step is the input, a parameter or an elementary operation. Tensors are followed as regions of their storages, so that
views, in-place operations and storages that are written in parts are exact.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

from se_probe.trace.operation import Operation, operation_name
from se_probe.trace.watching import ByStorage, WatchMode, storage_of, tensors_in

# Operations that overwrite their first argument without reading it.
OVERWRITING = {"copy", "fill", "zero"}
# Number that stands for the writer of a storage that is older than the pass.
_BEFORE = -1
aten = torch.ops.aten
# Missing in torch's table: attention on the CPU, with the same arguments as the other variants.
SAME_FORMULA = {
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
}
# Also missing: products of a matrix and a vector, with the position of the matrix.
MATRIX_VECTOR = {aten.mv: 0, aten.addmv: 1}
# Poolings that take an addition for every element read, the division included.
AVERAGING = {"mean", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "linalg_vector_norm"}
# Sums and maxima of n elements take n - 1 additions or comparisons.
FOLDING = {"sum", "amax", "amin", "adaptive_max_pool2d", "adaptive_max_pool3d"}
# Poolings over windows.
WINDOWS = {"avg_pool2d", "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"}


@dataclass(frozen=True)
class Value:
    """The content of a storage between two operations that write it; version 0 is older than the pass."""

    storage: int
    version: int


@dataclass(frozen=True)
class Operand:
    """A tensor that an operation reads or writes; `whole` says whether it is its entire storage."""

    value: Value
    size: tuple[int, ...]
    stride: tuple[int, ...]
    whole: bool


@dataclass(frozen=True)
class Step:
    """An operation, the input or a parameter. Views are not steps."""

    operation: Operation | None = None  # the operation, None for the input and parameters
    parameter: str | None = None  # name of the parameter
    reads: tuple[frozenset[int], ...] = ()  # for each argument, the numbers of the steps that wrote it
    # multiply_adds, additions, elements: its cost and the size of its outputs, for one image.
    multiply_adds: int = 0
    additions: int = 0
    elements: int = 0
    args: tuple[Any, ...] = ()  # its positional arguments, with an `Operand` for each tensor
    outputs: tuple[Operand, ...] = ()  # what it computed or wrote

    @property
    def name(self) -> str:
        """Name of the operation."""
        return self.operation.name if self.operation else ""


@dataclass
class Flow:
    """A forward pass as steps."""

    parameters: Mapping[int, list[str]]  # storage → names of the parameters and buffers in it
    steps: list[Step] = field(default_factory=list)  # the steps in order; the input is the first
    outputs: frozenset[int] = frozenset()  # numbers of the steps that wrote the network's outputs
    returned: frozenset[int] = frozenset()  # storages of the network's outputs
    # Value → numbers of the operations that read it.
    readers: dict[Value, list[int]] = field(default_factory=lambda: defaultdict(list))
    writers: dict[Value, int] = field(default_factory=dict)  # value → number of the operation that computed it

    def writer(self, value: Value) -> Step | None:
        """Return the operation that computed a value, None for inputs and parameters."""
        return self.steps[self.writers[value]] if value in self.writers else None

    def read_by(self, value: Value) -> list[Step]:
        """Return the operations that read a value."""
        return [self.steps[number] for number in self.readers.get(value, ())]

    def needed(self, cut: Set[tuple[Operation | None, int]] = frozenset()) -> set[int]:
        """Return the steps that the output needs when the arguments in `cut`, (operation, position), are constants."""
        found: set[int] = set()
        waiting = set(self.outputs)
        while waiting:
            number = waiting.pop()
            found.add(number)
            step = self.steps[number]
            kept = (reads for place, reads in enumerate(step.reads) if (step.operation, place) not in cut)
            waiting |= set().union(*kept) - found
        return found


def follow(network: nn.Module, batch: torch.Tensor) -> Flow:
    """Run a network in evaluation mode once and return the flow of its data."""
    mode = FlowMode(network, batch)
    mode.watch(network, batch)
    return mode.flow


@dataclass
class _Storage:
    """The writer of a storage: one step, or a step for each byte."""

    bytes: int
    version: int = 0
    writer: int | NDArray[np.int32] = _BEFORE

    def write(self, tensor: torch.Tensor, step: int) -> None:
        spread = all(stride > 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)
        if spread and tensor.nbytes == self.bytes:
            self.writer = step
            return
        if isinstance(self.writer, int):
            self.writer = np.full(self.bytes, self.writer, dtype=np.int32)
        _region(tensor, self.writer)[...] = step

    def writers(self, tensor: torch.Tensor) -> set[int]:
        """Return the steps that wrote the region of a tensor."""
        if isinstance(self.writer, int):
            return {self.writer} - {_BEFORE}
        return set(np.unique(_region(tensor, self.writer)).tolist()) - {_BEFORE}


def _region(tensor: torch.Tensor, of_bytes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the elements of an array over the bytes of a storage that belong to a tensor, as a view."""
    width, unit = tensor.element_size(), of_bytes.itemsize
    strides = [*(unit * width * stride for stride in tensor.stride()), unit]
    return np.lib.stride_tricks.as_strided(
        of_bytes[width * int(tensor.storage_offset()) :], (*tensor.shape, width), strides
    )


class FlowMode(WatchMode):
    """Records the flow of data in one pass of a network."""

    def __init__(self, network: nn.Module, batch: torch.Tensor) -> None:
        super().__init__()
        self.flow = Flow(_names(network))
        self._images = len(batch)
        self._storages: ByStorage[_Storage] = ByStorage()
        self._depend_on_input = {0}
        for name, tensor in ((None, batch), *network.named_parameters()):
            self._storage(tensor).write(tensor, len(self.flow.steps))
            self.flow.steps.append(Step(parameter=name))

    def watch(self, network: nn.Module, batch: torch.Tensor) -> list[torch.Tensor]:
        """Run the network on the batch once and return its output tensors."""
        with torch.no_grad(), self:
            output = network(batch)
        self.flow.outputs = self.written_by(output)
        self.flow.returned = frozenset(map(storage_of, tensors_in(output)))
        return tensors_in(output)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation and record what it read, wrote and cost."""
        reads = [self.written_by(argument) for argument in (*args, *kwargs.values())]
        if self._operation.name in OVERWRITING and func._schema.is_mutable:
            reads[0] = frozenset()
        operands = tree_map_only(torch.Tensor, self._operand, args)
        values = {self._operand(item).value for item in tensors_in((args, kwargs))}
        written = _written(func, args, kwargs)
        output = func(*args, **kwargs)
        made = tensors_in(output)
        fresh = [item for item in made if self._storages.get(item) is None]
        if not (written or fresh or not made):
            return output
        number = len(self.flow.steps)
        for value in values:
            self.flow.readers[value].append(number)
        images = 1
        if not self._depend_on_input.isdisjoint(chain(*reads)):
            self._depend_on_input.add(number)
            images = self._images
        step = Step(
            self._operation,
            reads=tuple(reads),
            multiply_adds=multiply_adds(func, args, kwargs, output) // images if made else 0,
            additions=additions(func, args, output) // images if made else 0,
            elements=sum(item.numel() for item in made) // images,
            args=operands,
            outputs=self._wrote(number, [*written, *fresh]),
        )
        self.flow.steps.append(step)
        return output

    def written_by(self, tree: Any) -> frozenset[int]:
        """Return the steps that wrote the tensors in nested containers."""
        return frozenset(step for tensor in tensors_in(tree) for step in self._storage(tensor).writers(tensor))

    def _wrote(self, step: int, tensors: Sequence[torch.Tensor]) -> tuple[Operand, ...]:
        """Record the tensors that an operation wrote, and return them as operands."""
        for tensor in tensors:
            self._storage(tensor).write(tensor, step)
        for tensor in {storage_of(tensor): tensor for tensor in tensors}.values():
            self._storage(tensor).version += 1
        operands = tuple(map(self._operand, tensors))
        self.flow.writers |= {operand.value: step for operand in operands}
        return operands

    def _operand(self, tensor: torch.Tensor) -> Operand:
        storage = self._storage(tensor)
        value = Value(storage_of(tensor), storage.version)
        return Operand(value, tuple(tensor.shape), tensor.stride(), tensor.nbytes == storage.bytes)

    def _storage(self, tensor: torch.Tensor) -> _Storage:
        return self._storages.get(tensor) or self._storages.set(tensor, _Storage(tensor.untyped_storage().nbytes()))


def _names(network: nn.Module) -> dict[int, list[str]]:
    names: dict[int, list[str]] = defaultdict(list)
    named = (network.named_parameters, network.named_buffers)
    for name, tensor in chain.from_iterable(items(remove_duplicate=False) for items in named):
        names[storage_of(tensor)].append(name)
    return names


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Return the arguments that an operation writes to."""
    marked = [item for item in enumerate(func._schema.arguments) if item[1].alias_info and item[1].alias_info.is_write]
    return tensors_in([args[place] if place < len(args) else kwargs.get(item.name) for place, item in marked])


def multiply_adds(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> int:
    """Return the multiply-adds of a convolution or matrix product for all images, 0 for other operations.

    Formulas of `torch.utils.flop_counter`, at 2 FLOPs a multiply-add: dense, with padded positions, without biases.
    """
    packet = func.overloadpacket
    if packet in MATRIX_VECTOR:
        return int(args[MATRIX_VECTOR[packet]].numel())
    formula = flop_registry.get(SAME_FORMULA.get(packet, packet))
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=output)) // 2


def additions(func: Any, args: Sequence[Any], output: Any) -> int:
    """Return the additions of a pooling, a sum along axes or of two tensors of one shape, 0 for other operations.

    For a maximum the comparisons are counted.
    """
    name = operation_name(func)
    result = output[0] if isinstance(output, tuple | list) else output
    if name in AVERAGING:
        return int(args[0].numel())
    if name in FOLDING:
        return int(args[0].numel() - result.numel())
    if name in WINDOWS:
        kernel = args[1] if len(args[1]) > 1 else list(args[1]) * (result.dim() - 2)
        return int(result.numel() * math.prod(kernel))
    if name == "add" and isinstance(args[1], torch.Tensor) and args[0].shape == args[1].shape:
        return int(result.numel())
    return 0
