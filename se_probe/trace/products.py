"""Products of a feature map and a factor in one pass, with the data flow from the input to each.

Data flow is followed through storages, so that views and in-place operations need no special case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from se_probe.trace.axes import MATRIX_PRODUCTS, Experiments, Shapes, aligned_shapes, experiment, experiment_inside
from se_probe.trace.dry_pass import Example, watched_pass
from se_probe.trace.geometry import Geometry, by_shape, geometry, is_normalised, split_images
from se_probe.trace.lineage import Lineage, derive
from se_probe.trace.operation import Operation, Product
from se_probe.trace.watching import (
    ByStorage,
    Call,
    CallMode,
    Key,
    Origins,
    product_operands,
    reads_shape_only,
    storage_of,
    storages_in,
    tensors_in,
)


@dataclass
class Event:
    """A multiplication of a feature map by a factor that is broadcast over it."""

    key: Key  # identifies the product in other passes
    geometry: Geometry  # axes of the aligned operands
    calls: tuple[Call, ...]  # module calls around the multiplication, outermost first
    product: Product  # the multiplication; the axes of the gate are in the order of the tensor
    feature_shape: tuple[int, ...]  # shape of the aligned feature map
    feature_storage: int  # storage of the feature map
    feature_lineage: Lineage  # lineage of the feature map
    values: torch.Tensor  # the factor without its broadcast axes, `(image, *kept)`
    lineage: Lineage | None  # lineage of the factor, None if data flow shows no dependence on the input
    # Module calls that returned the factor, with their outputs, innermost first.
    sources: tuple[tuple[Call, torch.Tensor], ...]
    # Whether feature map times `values` equals the product bit for bit (up to rounding if it is written out).
    exact: bool = True
    normalises: bool = False  # whether the factor removes the scale of the feature map
    summed: tuple[int, ...] = ()  # aligned axes of the product over which the network then sums
    parts: int = 1  # number of parts of the one kept axis over which the network then sums, 1 for none

    @property
    def matrices(self) -> bool:
        """Whether it is a matrix product."""
        return self.product.operation.name in MATRIX_PRODUCTS


@dataclass(frozen=True)
class _Pair:
    """The two operands of a product; `place` is the factor's position, 0 or 1."""

    feature: torch.Tensor
    factor: torch.Tensor
    place: int
    matrices: bool

    @property
    def shapes(self) -> Shapes:
        """Shapes in the order of the arguments."""
        feature, factor = tuple(self.feature.shape), tuple(self.factor.shape)
        return (feature, factor) if self.place else (factor, feature)

    @property
    def aligned(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Feature map and factor as views of equal rank, ordered as `aligned_shapes` does."""
        first, second = aligned_shapes(self.shapes, self.matrices)
        feature, factor = (first, second) if self.place else (second, first)
        return self.feature.reshape(feature), self.factor.reshape(factor)

    def own_axes(self, found: Geometry) -> dict[int, int]:
        """Return aligned axis → axis of the factor itself, split as the aligned operands are."""
        if self.matrices:
            own = [0, 2, 3] if self.place else [0, 1, 2]
        else:
            rank = max(self.feature.dim(), self.factor.dim())
            own = list(range(rank - self.factor.dim(), rank))
        if found.split > 1:
            own = [axis + (axis > found.image) for axis in own]
            own.insert(own.index(found.image) + 1, found.image + 1)
        return {axis: place for place, axis in enumerate(own)}


def trace(network: nn.Module, example: Example) -> Trace:
    """Trace the products of feature maps and broadcast factors in one pass.

    Raise SeProbeError if the pass failed.

    Args:
        example: two images. On `meta` only shapes are followed.
    """
    traced = _pass(network, example, experiment(network, example))
    # A network that accepts only one input size may have modules that accept others.
    tried = {key: experiment_inside(network.get_submodule(key[0]), args) for key, args in traced.unreached.items()}
    inside = {key: found for key, found in tried.items() if found is not None}
    return _pass(network, example, replace(traced.experiments, inside=inside)) if inside else traced


def _pass(network: nn.Module, example: Example, experiments: Experiments) -> Trace:
    traced = Trace(example, experiments)
    watched_pass(network, example, lambda: traced.watch(network, lambda: example.call(network)), seed=0)
    return traced


@dataclass
class _Stored:
    """A storage that depends on the input.

    `sources` are the module calls that returned a tensor on it, with size, stride and offset; `product` computed it.
    """

    lineage: Lineage
    sources: list[tuple[Call, tuple[Any, ...]]] = field(default_factory=list)
    product: Event | None = None


class Trace(CallMode):
    """A pass in which data is followed from the input and the factors of products are read."""

    def __init__(self, example: Example, experiments: Experiments) -> None:
        super().__init__()
        self.experiments = experiments
        self.events: list[Event] = []  # in network order
        # (path, index) of the module calls with products that no larger input reaches → their arguments, shapes only.
        self.unreached: dict[tuple[str, int], Example] = {}
        self._images = example.images
        self._stored: ByStorage[_Stored] = ByStorage()
        for item in tensors_in((example.args, example.kwargs)):
            self._stored.set(item, _Stored(Lineage()))

    def begin(self, path: str, args: Any) -> Call:
        """Return a new call."""
        return Call(path, self.calls[path], storages_in(args), Origins(args), args=args)

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """End a call."""
        call = self._stack.pop()
        call.args = ()
        if not isinstance(output, torch.Tensor):
            return
        call.output_shape = tuple(output.shape)
        if (stored := self._stored.get(output)) is not None:
            stored.sources.append((call, (output.shape, output.stride(), output.storage_offset())))

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one elementary operation."""
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
            if (stored := self._stored.get(output)) is not None:
                stored.product = event
            self.events.append(event)
        return output

    def _event(self, func: Any, args: tuple[Any, ...]) -> Event | None:
        """Return a product as an event if an operand is a candidate for a factor; the second is tried first."""
        places = product_operands(func, args)
        if places is None:
            return None
        key = self.count_product()
        for factor in (1, 0):
            pair = _Pair(
                args[places[1 - factor]], args[places[factor]], factor, self._operation.name in MATRIX_PRODUCTS
            )
            feature, flow = self._stored.get(pair.feature), self._stored.get(pair.factor)
            found = None if feature is None else self._geometry(key, pair)
            if feature is None or found is None or (flow is None and found.kind != "channel"):
                continue
            origins = tuple(self._stack[-1].origins.of(args[place]) for place in places)
            product = self._product(found, pair, places[factor], origins)
            return self._read(key, found, product, pair, feature, flow)
        return None

    def _geometry(self, key: Key, pair: _Pair) -> Geometry | None:
        axes = self.experiments.axes(key, pair.shapes, pair.matrices, self._images)
        feature, factor = pair.aligned
        if axes is not None:
            return geometry(feature, factor, axes, pair.place, self._images, pair.matrices)
        found = None if pair.matrices else by_shape(feature, factor, self._images)
        call = self._stack[-1]
        if found is not None and call.module and tensors_in(call.args):
            self.unreached[key[:2]] = Example(call.args, {}, self._images).on_meta()
        return found

    def _product(self, found: Geometry, pair: _Pair, operand: int, origins: tuple[Operation | None, ...]) -> Product:
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
        self, key: Key, found: Geometry, product: Product, pair: _Pair, feature: _Stored, flow: _Stored | None
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
            normalises=unbounded and is_normalised(whole, factor, (found.image, *found.kept)),
            summed=(2 + (found.split > 1),) if pair.matrices else (),
        )

    def _follow(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        """Derive the lineage of the storages that an operation made or changed."""
        name = self._operation.name
        inputs = tensors_in((args, kwargs))
        known = [(item, stored) for item in inputs if (stored := self._stored.get(item)) is not None]
        if name == "sum" and known and (product := known[0][1].product) is not None:
            _note_sum(product, args)
        shared = {storage_of(item) for item in inputs}
        lineages = [] if reads_shape_only(name) else [(item, stored.lineage) for item, stored in known]
        for item in tensors_in(output):
            is_shared = storage_of(item) in shared
            if is_shared and not func._schema.is_mutable:
                continue
            if lineages:
                self._stored.set(item, _Stored(derive(self._operation, args, lineages, item)))
            elif not is_shared:
                self._stored.drop(item)


def _note_sum(product: Event, args: Any) -> None:
    """Note a sum of a product over some of its axes, or over parts of its one kept axis."""
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
    """Multiply again with a factor rebuilt from the values, and compare the products bit for bit."""
    if output.is_meta or event.geometry.kind not in {"channel", "number"}:
        return True
    again = func(*event.product.replace(before, event.values), **kwargs)
    rtol = 8 * torch.finfo(output.dtype).eps if event.geometry.written_out else 0
    return torch.equal(again, output) or torch.allclose(again, output, rtol=rtol, atol=0, equal_nan=True)
