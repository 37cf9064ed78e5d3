"""From the feature map that a gate multiplies to the gate's logit: which operations lie between, found by data flow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.site import GateSite, hook_point_of
from se_probe.trace.axes import MATRIX_PRODUCTS
from se_probe.trace.dry_pass import dry_pass
from se_probe.trace.lineage import BOUNDING
from se_probe.trace.operation import Operation, Product
from se_probe.trace.tape import Ref, Step, Tape, TapeMode
from se_probe.trace.watching import PRODUCTS

Steps = Mapping[Operation, Step]
Values = dict[Ref, torch.Tensor]

_CLAMPS = {"hardtanh", "clamp"}
# Functions whose input are the gate logits: elementwise ones, and the softmax over branches.
_GATE_FUNCTIONS = {*BOUNDING, *_CLAMPS, "relu", "softplus", "exp"}
_AFFINE = {"mul", "div", "add", "sub", "rsub"}
_COPIES = {"clone", "_to_copy", "_unsafe_view", "repeat", "index", "_unsafe_index"}
_JOINS = {"cat", "stack"}
# What takes the scale of its own input away, and squeezes that are neither a mean nor a maximum.
_NORMALISING = {
    *("native_layer_norm", "native_group_norm", "_native_batch_norm_legit", "linalg_vector_norm", "norm"),
    *("rsqrt", "reciprocal", "sqrt", "pow", "var", "var_mean", "std", "std_mean", "_softmax", "_log_softmax"),
}


@dataclass(frozen=True)
class Factor:
    """A product of a site: how its feature map is read, and how its factor is made of the logits.

    Attributes:
        product: the product.
        shape: canonical shape of its factor without the image axis.
        feature: the multiplied map, and `relabelling`, the views and copies by which it is made of the sources.
        axes: axes of images, height and width of the map.
        split: the map's image axis, and how many positions besides the images are on it; 1 for none.
        logit: what the gate function reads, and `tail`, the operations from there to the factor.
        factor: the factor.
    """

    product: Product
    shape: tuple[int, ...]
    feature: Ref
    relabelling: tuple[Operation, ...]
    axes: tuple[int, int, int]
    split: tuple[int, int]
    logit: Ref
    tail: tuple[Operation, ...]
    factor: Ref

    def on_map(self, steps: Steps, sources: Values) -> torch.Tensor:
        """Return values of the sources, summed over channels at each position of the map: `(image, height, width)`."""
        known = dict(sources)
        for operation in self.relabelling:
            known |= steps[operation].run(known)
        whole = known[self.feature]
        if self.split[1] > 1:
            whole = whole.unflatten(self.split[0], (-1, self.split[1]))
        return whole.movedim(self.axes, (0, 1, 2)).reshape(*(whole.shape[axis] for axis in self.axes), -1).sum(3)

    def logits(self, steps: Steps, values: Values) -> torch.Tensor:
        """Return the logits in the gate's layout, `(image, *shape)`; those of 1 - s with the other sign."""
        known = dict(values)
        for step in (steps[operation] for operation in self.tail):
            (source,) = step.refs
            if _relabels(step):
                known |= step.run(known)
            else:
                known[Ref(step.operation)] = -known[source] if step.name == "rsub" else known[source]
        return self.product.gate(known[self.factor], self.shape)

    def gates(self, steps: Steps, values: Values) -> torch.Tensor:
        """Return the gates that logits give, `(image, *shape)`."""
        known = dict(values)
        for operation in self.tail:
            known |= steps[operation].run(known)
        return self.product.gate(known[self.factor], self.shape)


@dataclass(frozen=True)
class MapPath:
    """The operations from the map that a gate multiplies to its logit.

    Attributes:
        site: the site.
        sources: the tensors that hold the map.
        operations: the operations from there to the logit, in order.
        factors: the products of the site.
        complement: whether its branches are s and 1 - s, of one logit.
        last: its last product, after which nothing of a pass is needed.
        made: how many operations of each name a pass makes up to there.
    """

    site: GateSite
    sources: tuple[Ref, ...]
    operations: tuple[Operation, ...]
    factors: tuple[Factor, ...]
    complement: bool
    last: Operation
    made: Mapping[str, int]

    @property
    def needed(self) -> set[Operation]:
        """All operations that are run again."""
        parts = [self.operations, *(item.relabelling for item in self.factors), *(item.tail for item in self.factors)]
        return {operation for part in parts for operation in part}

    def logits(self, steps: Steps, values: Values) -> torch.Tensor:
        """Return the logits, `(image, channel)`; of branches, what the last one's have over the first one's."""
        parts = [factor.logits(steps, values) for factor in self.factors]
        whole = parts[0] if len(parts) == 1 else torch.stack(parts, 1)
        if whole.dim() == 2:
            return whole
        return whole[:, -1] if self.complement else whole[:, -1] - whole[:, 0]


def find_paths(
    network: nn.Module, sites: Iterable[GateSite], input_size: Sequence[int]
) -> tuple[list[MapPath], dict[str, str]]:
    """Look for the map of every site in one pass over noise; return the paths, and site → why it has none."""
    tape = dry_pass(network, input_size, _taped)
    paths, refused = [], {}
    for site in sites:
        try:
            paths.append(_Search(tape, site).path())
        except _NoMapError as error:
            refused[site.name] = str(error)
    return paths, refused


def _taped(network: nn.Module, batch: torch.Tensor) -> Tape:
    mode = TapeMode(batch)
    with torch.no_grad(), mode:
        network(batch)
    return mode.tape


class _NoMapError(Exception):
    """Why a site has no map, in words that follow "it has no gate map, because"."""


class _Search:
    """Looks for the path of one site on the tape of a whole pass."""

    def __init__(self, tape: Tape, site: GateSite) -> None:
        self._tape, self._site = tape, site

    def path(self) -> MapPath:
        point = hook_point_of(self._site)
        factors = [self._factor(product, point.product_shape) for product in point.products]
        sources = tuple(dict.fromkeys(ref for _, found in factors for ref in found))
        operations = self._between(sources, {factor.logit for factor, _ in factors})
        for operation in operations:
            self._check(self._tape.steps[operation])
        complement = len({_is_turned(factor) for factor, _ in factors}) > 1
        last = self._in_order({product.operation for product in point.products})[-1]
        made = self._made(last)
        return MapPath(self._site, sources, operations, tuple(item for item, _ in factors), complement, last, made)

    def _made(self, last: Operation) -> Mapping[str, int]:
        order = list(self._tape.steps)
        return Counter(operation.name for operation in order[: order.index(last) + 1])

    def _factor(self, product: Product, shape: tuple[int, ...]) -> tuple[Factor, tuple[Ref, ...]]:
        """Return a product of the site, and the sources of its map."""
        step = self._tape.steps[product.operation]
        places = PRODUCTS[product.operation.name]
        feature = step.args[next(place for place in places if place != product.operand)]
        factor = step.args[product.operand]
        if product.operation.name in MATRIX_PRODUCTS:
            raise _NoMapError("it multiplies by a product of matrices, in which height and width are one axis")
        axes, split = self._axes(product, self._tape.shape(feature), self._tape.shape(factor))
        sources, relabelling = self._relabelled(feature)
        logit, tail = self._tail(factor)
        return Factor(product, shape, feature, relabelling, axes, split, logit, tail, factor), sources

    def _axes(
        self, product: Product, feature: tuple[int, ...], factor: tuple[int, ...]
    ) -> tuple[tuple[int, int, int], tuple[int, int]]:
        """Return the axes of images, height and width of a feature map, and what else is on the first."""
        offset = len(feature) - len(factor)
        split = 1 if product.view is None else product.view[product.image_axis + 1]
        image, kept = product.image_axis + offset, {axis + offset for axis in product.axes}
        free = [axis for axis in range(len(feature) + (split > 1)) if axis != image and axis not in kept]
        if image < 0 or len(free) != 2:
            raise _NoMapError(
                f"the map that it multiplies has shape {feature}, with {len(free)} axes besides those of images and "
                "gates, and two were expected: height and width"
            )
        return (image, free[0], free[1]), (image, split)

    def _relabelled(self, feature: Ref) -> tuple[tuple[Ref, ...], tuple[Operation, ...]]:
        """Return the tensors that a map shows whole, by views and copies alone, and the operations that do it."""
        sources, found, waiting = [], set(), [feature]
        while waiting:
            ref = waiting.pop(0)
            step = self._tape.steps.get(ref.operation) if ref.operation else None
            if step is None or not (step.name in _JOINS or _relabels(step)) or not self._is_whole(step):
                sources.append(ref)
            elif step.operation not in found:
                found.add(step.operation)
                waiting += step.refs
        return tuple(dict.fromkeys(sources)), self._in_order(found)

    def _is_whole(self, step: Step) -> bool:
        """Whether an operation shows all elements of what it reads, each once."""
        return sum(map(math.prod, step.shapes)) == sum(math.prod(self._tape.shape(ref)) for ref in step.refs)

    def _tail(self, factor: Ref) -> tuple[Ref, tuple[Operation, ...]]:
        """Return what the gate function reads, and the operations from there to the factor."""
        tail: list[Operation] = []
        ref, function = factor, None
        while (step := self._lone(ref)) is not None:
            if function is None and step.name in _GATE_FUNCTIONS:
                function = step.name
            elif not self._continues(step, function):
                break
            tail.insert(0, step.operation)
            (ref,) = self._data(step)
        if function is None and self._site.activation != "unbounded":
            raise _NoMapError(f"its gate function ({self._site.activation}) is not the last one before the product")
        return ref, tuple(tail)

    def _continues(self, step: Step, function: str | None) -> bool:
        """Whether an operation belongs to the way from the logits: after the gate function, or to a hard sigmoid."""
        if function is None:
            return _relabels(step) or self._is_affine(step)
        return function in _CLAMPS and _is_scalar(step)

    def _lone(self, ref: Ref) -> Step | None:
        """Return the operation that computed a tensor from one other, None where it read several."""
        step = self._tape.steps.get(ref.operation) if ref.operation else None
        return step if step is not None and len(self._data(step)) == 1 else None

    def _data(self, step: Step) -> list[Ref]:
        """Return the tensors that an operation reads and that depend on the network's input."""
        return [ref for ref in step.refs if self._tape.depends(ref)]

    def _is_affine(self, step: Step) -> bool:
        return step.name in _AFFINE and step.shapes[0] == self._tape.shape(self._data(step)[0])

    def _between(self, sources: Sequence[Ref], logits: Iterable[Ref]) -> tuple[Operation, ...]:
        """Return the operations by which logits depend on the sources, through which alone they may see the input."""
        found: set[Operation] = set()
        waiting, reached = list(logits), False
        while waiting:
            ref = waiting.pop()
            if ref in sources:
                reached = True
                continue
            step = self._tape.steps.get(ref.operation) if ref.operation else None
            if step is None:
                raise _NoMapError("its logit depends on more than the map that it multiplies")
            if step.data and step.operation not in found:
                found.add(step.operation)
                waiting += self._data(step)
        if not reached:
            raise _NoMapError("its logit does not depend on the map that it multiplies")
        return self._in_order(found)

    def _in_order(self, operations: set[Operation]) -> tuple[Operation, ...]:
        return tuple(operation for operation in self._tape.steps if operation in operations)

    def _check(self, step: Step) -> None:
        """Raise where an operation leaves no share of the logit to single positions."""
        data = self._data(step)
        divides = step.name == "div" and len(step.args) > 1 and step.args[1] in data
        if step.name in _NORMALISING or divides or (step.name == "native_batch_norm" and step.args[5]):
            raise _NoMapError(
                f"its logit depends on the map through a normalisation or another squeeze than mean and maximum "
                f"({step.name}), so that positions have no shares of their own"
            )
        several = len(data) > 1
        if several and (step.name in {"mm", "addmm", *MATRIX_PRODUCTS} or self._weighs_positions(step, data)):
            raise _NoMapError(
                "it weighs positions or channels of the map by values that are computed from the map itself (attention "
                "pooling), so that the logit is no sum over positions"
            )

    def _weighs_positions(self, step: Step, data: Sequence[Ref]) -> bool:
        spatial = any(sum(size > 1 for size in self._tape.shape(ref)[1:]) > 1 for ref in data)
        return step.name in {"mul", "addcmul"} and spatial


def _relabels(step: Step) -> bool:
    return step.view or step.name in _COPIES or step.name.startswith("upsample")


def _is_turned(factor: Factor) -> bool:
    """Whether a factor is 1 - s."""
    return any(operation.name == "rsub" for operation in factor.tail)


def _is_scalar(step: Step) -> bool:
    """Whether an operation is an affine map by numbers, of which hard sigmoids are made."""
    return step.name in _AFFINE and not any(isinstance(item, torch.Tensor) for item in step.args)


def no_map(site: str, why: str) -> SeProbeError:
    """Return the error for a site without a gate map."""
    return SeProbeError(f"{site} has no gate map, because {why}; leave it out.")
