"""Distinguish gates from other products by further passes, and say why the others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from se_probe.errors import SeProbeError
from se_probe.gates.naming import FAMILIES
from se_probe.trace.dry_pass import Example, watched_pass
from se_probe.trace.geometry import nearly_equal
from se_probe.trace.products import Event, Trace
from se_probe.trace.watching import CallMode, Key, product_operands

# Factors that scale a feature map by its own norm, unlike attention maps.
NORMALISING = {"rsqrt", "reciprocal"}
# Images in another order round differently; a random factor also changes with the seed.
TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 5e-2}

WHY = {
    "spatial map": "varies over space (spatial attention)",
    "random": "changes with the random seed",
    "constant": "does not depend on the input",
    "other images": "depends on other images of the batch, or on the position in the batch",
    "normalisation": "undoes the scale of its own feature map",
    "dot product": "is unbounded and, like a query with its keys, summed with the map over their shared channels",
    "one place": "multiplies a map with a single position; pass a larger input",
    "never called": "looks like a gate by its class, but no pass called it",
}


@dataclass(frozen=True)
class LeftOut:
    """Products that are not gates, or modules that look like gates but were not called."""

    kind: str  # a key of `WHY`
    module: str  # path of the module
    count: int  # number of such products in one forward pass

    @property
    def why(self) -> str:
        """Why it is left out."""
        return WHY[self.kind]

    def __str__(self) -> str:
        """Return module, count and reason in one line."""
        times = f", {self.count} times" if self.count > 1 else ""
        return f"left out: {self.module or 'the network itself'}{times}: {self.kind}, {self.why}"


def decide(network: nn.Module, example: Example, watched: Trace) -> tuple[list[Event], tuple[LeftOut, ...]]:
    """Return the multiplications by gates, and what is left out.

    Raise SeProbeError if data flow and passes disagree, or the axes of a product are unknown.
    """
    _refuse_unknown_axes(watched.events)
    kinds = _by_geometry(watched.events)
    candidates = [event for event in watched.events if event.key not in kinds]
    kinds |= _by_values(network, example, candidates)
    gates = [event for event in candidates if event.key not in kinds]
    for event in gates:
        if event.lineage is None:
            raise SeProbeError(
                f"{_where(event)} multiplies by a factor that changes with the image, but no tensor operation leads "
                "from the input to it (numbers went through Python or NumPy); compute the gate with tensors."
            )
    counts = Counter((kinds[event.key], event.calls[-1].module) for event in watched.events if kinds.get(event.key))
    counts.update(("never called", path) for path in _never_called(network, watched.calls))
    return gates, tuple(LeftOut(kind, module, count) for (kind, module), count in counts.items())


def _by_geometry(events: Iterable[Event]) -> dict[Key, str]:
    """Return the products ruled out by their axes or lineage, with the kind; "" for those not worth reporting."""
    kinds = {}
    for event in events:
        kind, lineage = event.geometry.kind, event.lineage
        if kind == "spatial":
            kinds[event.key] = "" if lineage is None or lineage.operation in NORMALISING else "spatial map"
        elif kind == "one place":
            kinds[event.key] = "one place" if lineage is not None and lineage.activation else ""
        elif kind == "number" and (lineage is None or lineage.activated_by is None):
            kinds[event.key] = ""
        elif lineage is not None and lineage.activation is None and not {*event.summed}.isdisjoint(event.geometry.kept):
            kinds[event.key] = "dot product"
        elif event.normalises or (event.values.is_meta and lineage is not None and lineage.operation == "rsqrt"):
            kinds[event.key] = "normalisation"
        elif lineage is None and event.values.is_meta:
            kinds[event.key] = "constant"
    return kinds


def _by_values(network: nn.Module, example: Example, events: Sequence[Event]) -> dict[Key, str]:
    """Return the candidates ruled out by passes with other images or another seed, with the kind."""
    events = [event for event in events if not event.values.is_meta]
    if not events:
        return {}
    swapped = _factors_of(network, example.swapped(), events, seed=1)
    kinds: dict[Key, str] = {}
    differences: dict[Key, float] = {}
    for event in events:
        difference = _difference(event.values, swapped.factors.get(event.key))
        if difference is None:
            raise SeProbeError(
                f"a second pass did not reach the product in {_where(event)} as the first did: the network's path "
                "depends on the images or on chance, so its gates cannot be identified."
            )
        differences[event.key] = difference
    if doubtful := [event for event in events if differences[event.key] > 1e-6]:
        again = _factors_of(network, example, doubtful, seed=2)
        for event in doubtful:
            values, found = event.values, again.factors.get(event.key)
            if found is None or not torch.equal(found.nan_to_num(), values.nan_to_num()):
                kinds[event.key] = "random"
            elif differences[event.key] > TOLERANCE.get(values.dtype, 1e-3):
                kinds[event.key] = "other images"
    still = [event for event in events if event.key not in kinds and torch.equal(event.values[0], event.values[1])]
    kinds |= {event.key: "constant" for event in still if event.lineage is None}
    # A constant gate that is computed by layers is dead; it is still a gate.
    unclear = [event for event in still if event.lineage and not event.lineage.mixing]
    unclear += [event for event in events if event.key not in kinds and event.geometry.written_out]
    return kinds | _with_fresh_weights(network, example, unclear)


def _difference(values: torch.Tensor, swapped: torch.Tensor | None) -> float | None:
    """Return the largest relative difference after the images are swapped, None if the shapes differ."""
    if swapped is None or swapped.shape != values.shape:
        return None
    first, second = values.double(), swapped.flip(0).double()
    difference = torch.where(first == second, 0.0, (first - second).abs())
    return float(difference.max() / first.abs().max().clamp_min(1e-30))


def _with_fresh_weights(network: nn.Module, example: Example, events: Sequence[Event]) -> dict[Key, str]:
    """Return the factors that are constant over images, or vary over space, when the weights are random.

    A dead gate is constant with its own weights only.
    """
    if not events:
        return {}
    weights = _fresh_weights(network)

    def reweighted(*args: Any, **kwargs: Any) -> Any:
        return functional_call(network, weights, args, kwargs)

    try:
        seen = _factors_of(network, example, events, seed=0, call=reweighted)
    except SeProbeError:
        return {}
    kinds = {}
    for event in events:
        values = seen.factors.get(event.key)
        same = values is not None and torch.equal(values[0], values[1])
        if not seen.flat.get(event.key, True):
            kinds[event.key] = ""
        elif same and event.lineage and not event.lineage.mixing:
            kinds[event.key] = "constant"
    return kinds


def _fresh_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return random weights, scaled so that signals neither vanish nor explode."""
    draw = torch.Generator().manual_seed(1)
    weights = {}
    for name, parameter in network.named_parameters():
        if not parameter.is_floating_point():
            continue
        noise = torch.randn(parameter.shape, generator=draw)
        if parameter.dim() > 1:
            noise = noise / max(1, parameter.numel() // parameter.shape[0]) ** 0.5
        else:
            noise = 0.1 * noise + (0.0 if name.endswith("bias") else 1.0)
        weights[name] = noise.to(parameter)
    return weights


def _never_called(network: nn.Module, calls: Mapping[str, int]) -> list[str]:
    """Return the outermost modules that were not called and whose class is named like a gate."""
    found: list[str] = []
    for path, module in network.named_modules():
        word = type(module).__name__.lower()
        hinted = any(hint in word for family in FAMILIES for hint in family.hints)
        if hinted and not calls[path] and not any(path.startswith(f"{outer}.") for outer in found):
            found.append(path)
    return found


def _factors_of(
    network: nn.Module, example: Example, events: Sequence[Event], seed: int, call: Callable[..., Any] | None = None
) -> _Factors:
    """Read the factors of products in another pass of the network, or of `call` instead."""
    mode = _Factors(events)
    watched_pass(network, example, lambda: mode.watch(network, lambda: example.call(call or network)), seed)
    return mode


class _Factors(CallMode):
    """Reads the factors of known products; `flat`: whether factors written out over space are constant there."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__()
        self._wanted = {event.key: event for event in events}
        self.factors: dict[Key, torch.Tensor] = {}
        self.flat: dict[Key, bool] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if product_operands(func, args) is not None:
            event = self._wanted.get(self.count_product())
            if event is not None:
                self._read(event, args)
        return func(*args, **kwargs)

    def _read(self, event: Event, args: tuple[Any, ...]) -> None:
        product, factor = event.product, args[event.product.operand]
        if self._operation.name != product.operation.name or factor.dim() != product.rank:
            return
        values = self.factors[event.key] = product.read(args, tuple(event.values.shape[1:])).clone()
        if event.geometry.written_out:
            self.flat[event.key] = nearly_equal(product.replace(args, values)[product.operand], factor)


def _where(event: Event) -> str:
    return repr(event.calls[-1].module or "the network")


def _refuse_unknown_axes(events: Iterable[Event]) -> None:
    for event in events:
        if event.geometry.kind == "folded":
            raise SeProbeError(
                f"{_where(event)} multiplies by a gate on an axis of length "
                f"{event.feature_shape[event.geometry.image]} that holds images and frames or windows together; "
                "expected the images on their own axis. Pass the part of the network that takes single images."
            )
        if event.geometry.kind == "unknown":
            raise SeProbeError(
                f"{_where(event)} multiplies maps of shape {event.feature_shape} by a factor with fewer axes; which of "
                "them are spatial cannot be determined, because the network accepts no other input size; build it for "
                "inputs of any size, or pass the part that accepts them."
            )
