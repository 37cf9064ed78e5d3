"""One forward pass watched from below: module calls, data flow from the input, and products of the two.

A dispatch mode sees every multiplication that the network makes, whoever asked for it: an operator, a
functional call, an einsum or a scripted module. Data dependence is followed through storages, so that views
and in-place operations need no special case.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from se_probe.trace.geometry import Geometry, geometry
from se_probe.trace.lineage import Lineage, derive
from se_probe.trace.operation import Operation, canonical
from se_probe.trace.watching import Origins, WatchMode, module_hooks, product_operands, storage_of, tensors_in


@dataclass
class Call:
    """One call of a module in the forward pass.

    `index` counts the module's calls, `products` the multiplications made inside this one; `inputs` are the
    storages of its positional arguments, `origins` tells what computed the tensors in it.
    """

    module: str
    index: int
    inputs: frozenset[int] = frozenset()
    origins: Origins = field(default_factory=Origins)
    products: int = 0
    output_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Source:
    """A module call whose output lies in a storage that was not changed since: where and in what shape."""

    call: Call
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def read(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the module's output, given any tensor on the same storage."""
        return tensor.as_strided(self.size, self.stride, self.offset)


@dataclass
class Event:
    """A multiplication of a feature map by a data-dependent factor that is broadcast over it.

    Attributes:
        geometry: axes of the factor.
        calls: module calls around the multiplication, outermost first.
        operation: the multiplication, as an operation of the forward pass.
        index: position of the product in the innermost call.
        operand: position of the factor among the arguments.
        origins: origins of both operands in the innermost call, in the order of the arguments.
        feature_shape: shape of the feature map.
        feature_storage: identity of the feature map's storage.
        feature_lineage: how the feature map was computed.
        values: the factor without its broadcast axes, `(image, *kept)`.
        lineage: how the factor was computed.
        sources: module calls that output the factor, with the outputs, innermost first.
        exact: whether feature map times `values` equals the product bit for bit.
        summed: axes of the product over which the network then sums.
    """

    geometry: Geometry
    calls: tuple[Call, ...]
    operation: Operation
    index: int
    operand: int
    origins: tuple[Operation | None, ...]
    feature_shape: tuple[int, ...]
    feature_storage: int
    feature_lineage: Lineage
    values: torch.Tensor
    lineage: Lineage
    sources: tuple[tuple[Call, torch.Tensor], ...]
    exact: bool
    summed: tuple[int, ...] = ()


@dataclass
class Trace:
    """What a pass saw: the products in network order, how often each module was called, and its operations by name."""

    events: list[Event] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)


def trace(network: nn.Module, batch: torch.Tensor) -> Trace:
    """Run one forward pass and return the products of feature maps and broadcast factors in it.

    Args:
        network: a network in evaluation mode.
        batch: `(2, ...)` input on the network's device. On `meta` only shapes are followed.

    Returns:
        The trace. All hooks are removed, whatever the pass raises.
    """
    tracer = _Tracer(batch)
    with torch.no_grad(), module_hooks(network, tracer.enter_hook, tracer.leave), tracer:
        network(batch)
    tracer.trace.operations = tracer._counts
    return tracer.trace


@dataclass
class _Stored:
    """What is known of a storage that depends on the input."""

    lineage: Lineage
    sources: list[Source] = field(default_factory=list)
    product: Event | None = None


@dataclass(frozen=True)
class _Candidate:
    """A product before it is computed; in `before` an operand that it overwrites is a copy."""

    geometry: Geometry
    feature: int
    factor: int
    storages: tuple[int, int]
    origins: tuple[Operation | None, ...]
    before: tuple[Any, ...]


class _Tracer(WatchMode):
    """Keeps the stack of module calls and what is known of every storage that depends on the input."""

    def __init__(self, batch: torch.Tensor) -> None:
        super().__init__()
        self.trace = Trace()
        self._images, *self._input_size = batch.shape
        self._stack: list[Call] = []
        self._stored: dict[int, _Stored] = {storage_of(batch): _Stored(Lineage())}

    def enter_hook(self, path: str) -> Any:
        def enter(_module: nn.Module, args: Any) -> None:
            inputs = frozenset(storage_of(item) for item in tensors_in(args))
            self._stack.append(Call(path, self.trace.calls[path], inputs, Origins(args)))
            self.trace.calls[path] += 1

        return enter

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        call = self._stack.pop()
        if not isinstance(output, torch.Tensor):
            return
        call.output_shape = tuple(output.shape)
        if (stored := self._stored.get(storage_of(output))) is not None:
            where = tuple(output.shape), output.stride(), int(output.storage_offset())
            stored.sources.append(Source(call, *where))

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        candidate = self._candidate(func, args)
        event = self._event(candidate) if candidate else None
        output = func(*args, **kwargs)
        for call in self._stack:
            call.origins.note(func, args, output)
        self._follow(func, args, kwargs, output)
        if candidate and event:
            event.exact = _product_is_exact(self._operation.name, candidate, event.values, kwargs, output)
            self._stored[storage_of(output)].product = event
            self.trace.events.append(event)
        return output

    def _candidate(self, func: Any, args: tuple[Any, ...]) -> _Candidate | None:
        operands = product_operands(func, args)
        if operands is None:
            return None
        for call in self._stack:
            call.products += 1
        for feature, factor in (operands, operands[::-1]):
            storages = storage_of(args[feature]), storage_of(args[factor])
            if args[feature].shape[:1] != (self._images,) or not self._stored.keys() >= set(storages):
                continue
            if (found := geometry(args[feature], args[factor], self._input_size)) is not None:
                first = args[0].clone() if func._schema.is_mutable else args[0]
                origins = tuple(self._stack[-1].origins.of(args[place]) for place in operands)
                return _Candidate(found, feature, factor, storages, origins, (first, *args[1:]))
        return None

    def _event(self, candidate: _Candidate) -> Event:
        feature, factor = candidate.before[candidate.feature], candidate.before[candidate.factor]
        feature_key, factor_key = candidate.storages
        kept = candidate.geometry.kept
        stored = self._stored[factor_key]
        return Event(
            geometry=candidate.geometry,
            calls=tuple(self._stack),
            operation=self._operation,
            index=self._stack[-1].products - 1,
            operand=candidate.factor,
            origins=candidate.origins,
            feature_shape=tuple(feature.shape),
            feature_storage=feature_key,
            feature_lineage=self._stored[feature_key].lineage,
            values=canonical(factor, kept, tuple(factor.shape[axis] for axis in kept)).clone(),
            lineage=stored.lineage,
            sources=tuple((source.call, source.read(factor).clone()) for source in stored.sources),
            exact=False,
        )

    def _follow(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        """Carry data dependence from an operation's inputs to the storages that it made or changed."""
        inputs = tensors_in((args, kwargs))
        known = [(item, self._stored[storage_of(item)]) for item in inputs if storage_of(item) in self._stored]
        if self._operation.name == "sum" and known and known[0][1].product is not None:
            known[0][1].product.summed = tuple(axis % args[0].dim() for axis in args[1] or ())
        shared = {storage_of(item) for item in inputs}
        lineages = [(item, stored.lineage) for item, stored in known]
        for item in tensors_in(output):
            key = storage_of(item)
            if key in shared and not func._schema.is_mutable:
                continue
            if known:
                self._stored[key] = _Stored(derive(self._operation, args, lineages, item))
            elif key not in shared:
                # A new storage may lie at the address of one that is gone.
                self._stored.pop(key, None)


def _product_is_exact(
    name: str, candidate: _Candidate, values: torch.Tensor, kwargs: Any, output: torch.Tensor
) -> bool:
    """Compute the product again from the feature map and the canonical factor, and compare bit for bit."""
    if output.is_meta:
        return True
    feature = candidate.before[candidate.feature]
    kept = candidate.geometry.kept
    extent = [values.shape[1 + kept.index(axis)] if axis in kept else 1 for axis in range(1, feature.dim())]
    arguments = list(candidate.before)
    arguments[candidate.factor] = values.reshape(values.shape[0], *extent)
    again = getattr(torch, name)(*arguments, **kwargs).to(output.dtype)
    return torch.allclose(again, output, rtol=0, atol=0, equal_nan=True)
