"""Find the operations from the feature map that a gate multiplies to the gate's logit, by data flow."""

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
from se_probe.trace.tape import Ref, Tape, TapeMode, TapeStep

Values = dict[Ref, torch.Tensor]

_CLAMPS = {"hardtanh", "clamp"}
# Functions of the gate logits: elementwise ones, and the softmax over branches.
_GATE_FUNCTIONS = {*BOUNDING, *_CLAMPS, "relu", "softplus", "exp"}
_AFFINE = {"mul", "div", "add", "sub", "rsub"}
_COPIES = {"clone", "_to_copy", "_unsafe_view", "repeat", "index", "_unsafe_index"}
_JOINS = {"cat", "stack"}
# Normalisations, and squeezes other than mean and maximum.
_NORMALISING = {
    *("native_layer_norm", "native_group_norm", "_native_batch_norm_legit", "linalg_vector_norm", "norm"),
    *("rsqrt", "reciprocal", "sqrt", "pow", "var", "var_mean", "std", "std_mean", "_softmax", "_log_softmax"),
}


@dataclass(frozen=True)
class Factor:
    """A product of a site: how its feature map follows from the sources, and its factor from the logits."""

    product: Product
    shape: tuple[int, ...]  # canonical shape of its factor without the image axis
    feature: Ref  # the multiplied map
    relabelling: tuple[Operation, ...]  # the views and copies from the sources to it
    axes: tuple[int, int, int]  # axes of images, height and width of the map
    split: tuple[int, int]  # the map's image axis, and the number of positions per image on it
    logit: Ref  # the input of the gate function
    tail: tuple[Operation, ...]  # the operations from there to the factor
    factor: Ref

    def on_map(self, tape: Tape, sources: Values) -> torch.Tensor:
        """Return values of the sources, summed over channels at each position of the map: `(image, height, width)`."""
        whole = tape.run(self.relabelling, sources)[self.feature]
        if self.split[1] > 1:
            whole = whole.unflatten(self.split[0], (-1, self.split[1]))
        return whole.movedim(self.axes, (0, 1, 2)).reshape(*(whole.shape[axis] for axis in self.axes), -1).sum(3)

    def logits(self, tape: Tape, values: Values) -> torch.Tensor:
        """Return the logits in the gate's layout, `(image, *shape)`, with the opposite sign for 1 - s."""
        known = dict(values)
        for step in (tape.steps[operation] for operation in self.tail):
            (source,) = step.refs
            if _relabels(step):
                known |= step.run(known)
            else:
                known[Ref(step.operation)] = -known[source] if step.name == "rsub" else known[source]
        return self.product.gate(known[self.factor], self.shape)

    def gates(self, tape: Tape, values: Values) -> torch.Tensor:
        """Return the gates of the logits, `(image, *shape)`."""
        return self.product.gate(tape.run(self.tail, values)[self.factor], self.shape)


@dataclass(frozen=True)
class MapPath:
    """The operations from the map that a gate multiplies to its logit."""

    site: GateSite
    sources: tuple[Ref, ...]  # the tensors of which the map consists
    operations: tuple[Operation, ...]  # the operations from there to the logit, in order
    factors: tuple[Factor, ...]  # the products of the site
    complement: bool  # whether its branches are s and 1 - s, of one logit
    last: Operation  # its last product
    made: Mapping[str, int]  # number of operations of each name in a pass up to there

    @property
    def needed(self) -> set[Operation]:
        """All operations that are run again."""
        parts = [self.operations, *(item.relabelling for item in self.factors), *(item.tail for item in self.factors)]
        return {operation for part in parts for operation in part}

    def logits(self, tape: Tape, values: Values) -> torch.Tensor:
        """Return the logits, `(image, channel)`; of branches, those of the last minus those of the first."""
        parts = [factor.logits(tape, values) for factor in self.factors]
        whole = parts[0] if len(parts) == 1 else torch.stack(parts, 1)
        if whole.dim() == 2:
            return whole
        return whole[:, -1] if self.complement else whole[:, -1] - whole[:, 0]


def find_paths(
    network: nn.Module, sites: Iterable[GateSite], input_size: Sequence[int]
) -> tuple[list[MapPath], dict[str, str]]:
    """Return the paths of sites, found in one pass over noise; and site name → why the site has none."""

    def taped(network: nn.Module, batch: torch.Tensor) -> Tape:
        mode = TapeMode(batch)
        with torch.no_grad(), mode:
            network(batch)
        return mode.tape

    tape = dry_pass(network, input_size, taped)
    paths, refused = [], {}
    for site in sites:
        try:
            paths.append(_Search(tape, site).path())
        except _NoMapError as error:
            refused[site.name] = str(error)
    return paths, refused


class _NoMapError(Exception):
    """A site has no map; the message continues "it has no gate map, because"."""


class _Search:
    """Searches the path of one site on the tape of a whole pass."""

    def __init__(self, tape: Tape, site: GateSite) -> None:
        self._tape, self._site = tape, site

    def path(self) -> MapPath:
        point = hook_point_of(self._site)
        factors = [self._factor(product, point.product_shape) for product in point.products]
        sources = tuple(dict.fromkeys(ref for _, found in factors for ref in found))
        operations = self._between(sources, {factor.logit for factor, _ in factors})
        for operation in operations:
            self._check(self._tape.steps[operation])
        # If the branches are s and 1 - s, one path has a subtraction from 1.
        complement = len({any(item.name == "rsub" for item in factor.tail) for factor, _ in factors}) > 1
        last = self._in_order({product.operation for product in point.products})[-1]
        order = list(self._tape.steps)
        made = Counter(operation.name for operation in order[: order.index(last) + 1])
        return MapPath(self._site, sources, operations, tuple(item for item, _ in factors), complement, last, made)

    def _factor(self, product: Product, shape: tuple[int, ...]) -> tuple[Factor, tuple[Ref, ...]]:
        """Return a product of the site, and the sources of its map."""
        step = self._tape.steps[product.operation]
        feature, factor = step.args[product.feature_operand], step.args[product.operand]
        if product.operation.name in MATRIX_PRODUCTS:
            raise _NoMapError("the multiplication is a matrix product, in which height and width are one axis")
        axes, split = self._axes(product, self._tape.shape(feature), self._tape.shape(factor))
        sources, relabelling = self._relabelled(feature)
        logit, tail = self._tail(factor)
        return Factor(product, shape, feature, relabelling, axes, split, logit, tail, factor), sources

    def _axes(
        self, product: Product, feature: tuple[int, ...], factor: tuple[int, ...]
    ) -> tuple[tuple[int, int, int], tuple[int, int]]:
        """Return the `axes` and `split` of a feature map."""
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
        """Return the tensors from which a map is made by views and copies, and those operations."""
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

    def _is_whole(self, step: TapeStep) -> bool:
        """Whether an operation returns all elements that it reads, each once."""
        return sum(map(math.prod, step.shapes)) == sum(math.prod(self._tape.shape(ref)) for ref in step.refs)

    def _tail(self, factor: Ref) -> tuple[Ref, tuple[Operation, ...]]:
        """Return the input of the gate function, and the operations from there to the factor."""
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
            raise _NoMapError(
                f"its gate function ({self._site.activation}) is not the last function before the product"
            )
        return ref, tuple(tail)

    def _continues(self, step: TapeStep, function: str | None) -> bool:
        """Whether an operation follows the gate function, or is part of a hard sigmoid."""
        if function is None:
            return _relabels(step) or (step.name in _AFFINE and step.shapes[0] == self._tape.shape(self._data(step)[0]))
        by_numbers = not any(isinstance(item, torch.Tensor) for item in step.args)
        return function in _CLAMPS and step.name in _AFFINE and by_numbers

    def _lone(self, ref: Ref) -> TapeStep | None:
        """Return the operation that computed a tensor from a single other one, else None."""
        step = self._tape.steps.get(ref.operation) if ref.operation else None
        return step if step is not None and len(self._data(step)) == 1 else None

    def _data(self, step: TapeStep) -> list[Ref]:
        """Return the tensors read by an operation that depend on the network's input."""
        return [ref for ref in step.refs if self._tape.depends(ref)]

    def _between(self, sources: Sequence[Ref], logits: Iterable[Ref]) -> tuple[Operation, ...]:
        """Return the operations from the sources to the logits, which must depend on the input only through these."""
        found: set[Operation] = set()
        waiting, reached = list(logits), False
        while waiting:
            ref = waiting.pop()
            if ref in sources:
                reached = True
                continue
            step = self._tape.steps.get(ref.operation) if ref.operation else None
            if step is None:
                raise _NoMapError("its logit also depends on other tensors than the map that it multiplies")
            if step.data and step.operation not in found:
                found.add(step.operation)
                waiting += self._data(step)
        if not reached:
            raise _NoMapError("its logit does not depend on the map that it multiplies")
        return self._in_order(found)

    def _in_order(self, operations: set[Operation]) -> tuple[Operation, ...]:
        return tuple(operation for operation in self._tape.steps if operation in operations)

    def _check(self, step: TapeStep) -> None:
        """Raise if the logit cannot be split over positions because of an operation."""
        data = self._data(step)
        divides = step.name == "div" and len(step.args) > 1 and step.args[1] in data
        if step.name in _NORMALISING or divides or (step.name == "native_batch_norm" and step.args[5]):
            raise _NoMapError(
                "its logit depends on the map through a normalisation or a squeeze other than mean and maximum "
                f"({step.name}), so positions have no shares of their own"
            )
        if len(data) > 1 and (step.name in {"mm", "addmm", *MATRIX_PRODUCTS} or self._weighs_positions(step, data)):
            raise _NoMapError(
                "it weighs positions or channels of the map by values that are computed from the map itself (attention "
                "pooling), so the logit is not a sum over positions"
            )

    def _weighs_positions(self, step: TapeStep, data: Sequence[Ref]) -> bool:
        spatial = any(sum(size > 1 for size in self._tape.shape(ref)[1:]) > 1 for ref in data)
        return step.name in {"mul", "addcmul"} and spatial


def _relabels(step: TapeStep) -> bool:
    return step.view or step.name in _COPIES or step.name.startswith("upsample")


def no_map(site: str, why: str) -> SeProbeError:
    """Return the error for a site without a gate map."""
    return SeProbeError(f"{site} has no gate map, because {why}; leave it out.")
