"""Products of a feature map and a factor in one pass, with the flow of data from the input to each.

Data dependence is followed through storages, so that views and in-place operations need no special case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from se_probe.trace.axes import MATRIX_PRODUCTS, Experiments, experiment, experiment_inside
from se_probe.trace.dry_pass import watched_pass
from se_probe.trace.example import Example
from se_probe.trace.geometry import Geometry, Pair, by_shape, geometry, is_normalised, split_images
from se_probe.trace.lineage import Lineage, derive
from se_probe.trace.operation import Operation, Product
from se_probe.trace.watching import Call, CallMode, Key, Origins, product_operands, storage_of, storages_in, tensors_in

# Operations that take a tensor's shape, dtype and device, but not its values.
_SHAPE_ONLY = {
    *("new_ones", "new_zeros", "new_full", "new_empty", "new_empty_strided", "new_tensor"),
    *("ones_like", "zeros_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like"),
}


@dataclass
class Event:
    """A multiplication of a feature map by a factor that is broadcast over it.

    Attributes:
        key: by which the product is found again in another pass.
        geometry: axes of the aligned operands.
        calls: module calls around the multiplication, outermost first.
        product: the multiplication, and how its factor is read; its axes are in place order.
        feature_shape: shape of the aligned feature map.
        feature_storage: identity of the feature map's storage.
        feature_lineage: how the feature map was computed.
        values: the factor without its broadcast axes, `(image, *kept)`.
        lineage: how the factor was computed, None where it does not depend on the input by the flow of data.
        sources: module calls that output the factor, with the outputs, innermost first.
        exact: whether feature map times `values` equals the product bit for bit (up to rounding if it is written out).
        matrices: whether it is a product of matrices.
        normalises: whether the factor undoes the scale of the feature map.
        summed: aligned axes of the product over which the network then sums.
        parts: number of parts of the one kept axis over which the network then sums, 1 for none.
    """

    key: Key
    geometry: Geometry
    calls: tuple[Call, ...]
    product: Product
    feature_shape: tuple[int, ...]
    feature_storage: int
    feature_lineage: Lineage
    values: torch.Tensor
    lineage: Lineage | None
    sources: tuple[tuple[Call, torch.Tensor], ...]
    matrices: bool = False
    exact: bool = True
    normalises: bool = False
    summed: tuple[int, ...] = ()
    parts: int = 1


@dataclass
class Trace:
    """What a pass saw.

    Attributes:
        experiments: the passes over other sizes before it.
        events: the products in network order.
        calls: how often each module was called.
        operations: how often each operation was made, by name.
        untold: arguments, shapes only, of the module calls with products that no larger input reaches, by path and
            call.
    """

    experiments: Experiments
    events: list[Event] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    untold: dict[tuple[str, int], Example] = field(default_factory=dict)


def trace(network: nn.Module, example: Example) -> Trace:
    """Return the products of feature maps and broadcast factors in one pass.

    Args:
        network: an unwrapped network.
        example: two images. On `meta` only shapes are followed.

    Raises:
        SeProbeError: the pass failed.
    """
    seen = _pass(network, example, experiment(network, example))
    # The network takes one size only: its modules may take others.
    tried = {key: experiment_inside(network.get_submodule(key[0]), args) for key, args in seen.untold.items()}
    inside = {key: found for key, found in tried.items() if found is not None}
    return _pass(network, example, replace(seen.experiments, inside=inside)) if inside else seen


def _pass(network: nn.Module, example: Example, experiments: Experiments) -> Trace:
    tracer = _Tracer(example, experiments)
    watched_pass(network, example, lambda: tracer.watch(network, lambda: example.call(network)), seed=0)
    return tracer.trace


@dataclass
class _Stored:
    """What is known of a storage that depends on the input; while `alive` is kept, no other takes its identity.

    `sources` are the module calls whose output is in it, with how that views the storage; `product` is what made it.
    """

    alive: StorageWeakRef
    lineage: Lineage
    sources: list[tuple[Call, tuple[Any, ...]]] = field(default_factory=list)
    product: Event | None = None


class _Tracer(CallMode):
    """Follows data from the input and reads the factors of products."""

    def __init__(self, example: Example, experiments: Experiments) -> None:
        super().__init__()
        self.trace = Trace(experiments, calls=self.calls, operations=self._counts)
        self._images = example.images
        self._stored: dict[int, _Stored] = {}
        for item in tensors_in((example.args, example.kwargs)):
            self._store(item, Lineage())

    def begin(self, path: str, args: Any) -> Call:
        return Call(path, self.calls[path], storages_in(args), Origins(args), args=args)

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        call = self._stack.pop()
        call.args = ()
        if not isinstance(output, torch.Tensor):
            return
        call.output_shape = tuple(output.shape)
        if (stored := self._stored.get(storage_of(output))) is not None:
            stored.sources.append((call, (output.shape, output.stride(), output.storage_offset())))

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        event = self._event(func, args)
        before = args
        if event is not None and func._schema.is_mutable:
            before = (args[0].clone(), *args[1:])
        output = func(*args, **kwargs)
        for call in self._stack:
            call.origins.note(func, args, output)
        self._follow(func, args, kwargs, output)
        if event is not None:
            event.exact = _product_is_exact(func, event, before, kwargs, output)
            if (stored := self._stored.get(storage_of(output))) is not None:
                stored.product = event
            self.trace.events.append(event)
        return output

    def _store(self, tensor: torch.Tensor, lineage: Lineage) -> None:
        self._stored[storage_of(tensor)] = _Stored(StorageWeakRef(tensor.untyped_storage()), lineage)

    def _event(self, func: Any, args: tuple[Any, ...]) -> Event | None:
        """Return a product as an event where one of its operands is a candidate for a factor, the second first."""
        places = product_operands(func, args)
        if places is None:
            return None
        key = self.count_product()
        for factor in (1, 0):
            pair = Pair(args[places[1 - factor]], args[places[factor]], factor, self._operation.name in MATRIX_PRODUCTS)
            feature, flow = (self._stored.get(storage_of(item)) for item in (pair.feature, pair.factor))
            found = None if feature is None else self._geometry(key, pair)
            if feature is None or found is None or (flow is None and found.kind != "channel"):
                continue
            origins = tuple(self._stack[-1].origins.of(args[place]) for place in places)
            product = self._product(found, pair, places[factor], origins)
            return self._read(key, found, product, pair, feature, flow)
        return None

    def _geometry(self, key: Key, pair: Pair) -> Geometry | None:
        axes = self.trace.experiments.axes(key, pair.shapes, pair.matrices, self._images)
        feature, factor = pair.aligned
        if axes is not None:
            return geometry(feature, factor, axes, pair.place, self._images, pair.matrices)
        found = None if pair.matrices else by_shape(feature, factor, self._images)
        call = self._stack[-1]
        if found is not None and call.module and tensors_in(call.args):
            self.trace.untold[key[:2]] = Example(call.args, {}, self._images).on_meta()
        return found

    def _product(self, found: Geometry, pair: Pair, operand: int, origins: tuple[Operation | None, ...]) -> Product:
        own = pair.own_axes(found)
        shape, image = tuple(pair.factor.shape), own[found.image]
        return Product(
            operation=self._operation,
            index=self._stack[-1].products - 1,
            operand=operand,
            axes=tuple(own[axis] for axis in found.kept),
            rank=pair.factor.dim(),
            origins=origins,
            image_axis=image,
            view=None if found.split == 1 else (*shape[:image], -1, found.split, *shape[image + 1 :]),
            written_out=found.written_out,
        )

    def _read(
        self, key: Key, found: Geometry, product: Product, pair: Pair, feature: _Stored, flow: _Stored | None
    ) -> Event:
        whole, factor = (split_images(item, found.image, found.split) for item in pair.aligned)
        kept = tuple(factor.shape[axis] for axis in found.kept)
        sources = () if flow is None else flow.sources
        unbounded = flow is not None and flow.lineage.activation is None and found.kind == "channel"
        return Event(
            key=key,
            geometry=found,
            calls=tuple(self._stack),
            product=product,
            feature_shape=tuple(whole.shape),
            feature_storage=storage_of(pair.feature),
            feature_lineage=feature.lineage,
            values=product.gate(pair.factor, kept).clone(),
            lineage=None if flow is None else flow.lineage,
            sources=tuple((call, pair.factor.as_strided(*view).clone()) for call, view in sources),
            matrices=pair.matrices,
            normalises=unbounded and is_normalised(whole, factor, (found.image, *found.kept)),
            summed=(2 + (found.split > 1),) if pair.matrices else (),
        )

    def _follow(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        """Carry data dependence from an operation's inputs to the storages that it made or changed."""
        name = self._operation.name
        inputs = tensors_in((args, kwargs))
        known = [(item, self._stored[storage_of(item)]) for item in inputs if storage_of(item) in self._stored]
        if name == "sum" and known and (product := known[0][1].product) is not None:
            _note_sum(product, args)
        shared = {storage_of(item) for item in inputs}
        lineages = [] if name in _SHAPE_ONLY else [(item, stored.lineage) for item, stored in known]
        for item in tensors_in(output):
            key = storage_of(item)
            if key in shared and not func._schema.is_mutable:
                continue
            if lineages:
                self._store(item, derive(self._operation, args, lineages, item))
            elif key not in shared:
                self._stored.pop(key, None)


def _note_sum(product: Event, args: Any) -> None:
    """Note that the network sums a product over some of its axes, or over parts of its one kept axis."""
    shape, before = tuple(args[0].shape), product.feature_shape
    given = args[1] if len(args) > 1 and args[1] is not None else ()
    axes = tuple(axis % len(shape) for axis in ((given,) if isinstance(given, int) else given))
    if shape == before:
        product.summed = axes
    elif len(product.geometry.kept) == 1 and len(axes) == 1:
        (kept,) = product.geometry.kept
        if axes == (kept,) and shape[:kept] == before[:kept] and shape[kept] * shape[kept + 1] == before[kept]:
            product.parts = shape[kept]


def _product_is_exact(
    func: Any, event: Event, before: tuple[Any, ...], kwargs: Mapping[str, Any], output: torch.Tensor
) -> bool:
    """Rebuild the factor from the values that were read, and compare the product bit for bit."""
    if output.is_meta or event.geometry.kind not in {"channel", "number"}:
        return True
    again = func(*event.product.replace(before, event.values), **kwargs)
    rtol = 8 * torch.finfo(output.dtype).eps if event.geometry.written_out else 0
    return torch.equal(again, output) or torch.allclose(again, output, rtol=rtol, atol=0, equal_nan=True)
