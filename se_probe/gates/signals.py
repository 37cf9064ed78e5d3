"""Signals beside a gate: its logits, the squeeze it is computed from, and the feature map before and after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from se_probe.errors import SeProbeError
from se_probe.gates.hooks import is_reading, reading
from se_probe.gates.passes import SiteProduct
from se_probe.gates.refusals import another_way
from se_probe.gates.site import HookPoint
from se_probe.trace.operation import Operation, Product, canonical
from se_probe.trace.watching import PRODUCTS, WatchMode

# What can be captured, and the signals that each gives. "original" is the gate before an intervention changed it,
# "feature" the spatial mean of the feature map, "effect" what the gate does to the answer, which takes a backward pass.
CAPTURES: Mapping[str, tuple[str, ...]] = {
    "gate": ("gate",),
    "original": ("original",),
    "logit": ("logit",),
    "squeeze": ("squeeze",),
    "feature": ("feature_before", "feature_after"),
    "effect": ("effect",),
}


def signals_of(capture: Sequence[str]) -> tuple[str, ...]:
    """Return the signals that are recorded for what is to be captured; the gate always is.

    Raises:
        SeProbeError: something unknown is to be captured.
    """
    for kind in capture:
        if kind not in CAPTURES:
            raise SeProbeError(f"{kind!r} cannot be captured; expected some of {', '.join(CAPTURES)}.")
    return tuple(signal for kind in CAPTURES if kind in {"gate", *capture} for signal in CAPTURES[kind])


def signal_shape(point: HookPoint, signal: str) -> tuple[int, ...] | None:
    """Return a signal's canonical shape without the image axis, None where a site has no such signal.

    Logits need one bounding operation, a squeeze needs one unit a channel; the squeeze has no branches. Feature maps
    are read at elementwise products only: matrix products (einsum, matmul) sum over the branches.
    """
    if signal in CAPTURES["feature"] and any(product.view is not None for product in point.products):
        return None
    if signal == "squeeze":
        return point.shape[-1:] if point.squeeze else None
    return None if signal == "logit" and point.logit is None else point.shape


class OperationMode(WatchMode):
    """Read the logits and squeezes of all sites off the operations of one forward pass of the network."""

    def __init__(self, points: Mapping[str, HookPoint], signals: Sequence[str]) -> None:
        super().__init__()
        self._caught: dict[tuple[str, str], torch.Tensor] = {}
        self._logits: dict[Operation, list[tuple[str, HookPoint]]] = defaultdict(list)
        self._squeezes: dict[Operation, list[tuple[str, HookPoint]]] = defaultdict(list)
        self._expected: dict[str, int] = {}
        for name, point in points.items():
            for signal, operation, wanted in (
                ("logit", point.logit, self._logits),
                ("squeeze", point.squeeze, self._squeezes),
            ):
                if signal in signals and operation is not None:
                    wanted[operation].append((name, point))
                    self._expected[operation.name] = dict(point.operations)[operation.name]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if is_reading():
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation; read its input before it may overwrite it, and its output."""
        operation = self._operation
        with reading():
            for name, point in self._logits.get(operation, ()):
                self._caught["logit", name] = args[0].detach().reshape(-1, *point.shape).clone()
        output = func(*args, **kwargs)
        with reading():
            for name, point in self._squeezes.get(operation, ()):
                self._caught["squeeze", name] = output.detach().reshape(-1, point.shape[-1]).clone()
        return output

    def caught(self) -> dict[tuple[str, str], torch.Tensor]:
        """Return (signal, site) → `(image, channel)` or `(image, branch, channel)`.

        Raises:
            SeProbeError: the pass made another number of such operations than the dry pass.
        """
        for name, expected in self._expected.items():
            if self._counts[name] != expected:
                raise another_way(f"it made {self._counts[name]} operations {name}, not {expected}")
        return self._caught


def feature_of(product: Product, args: Sequence[Any]) -> torch.Tensor:
    """Return the feature map among the arguments of a product."""
    feature: torch.Tensor = next(args[i] for i in PRODUCTS[product.operation.name] if i != product.operand)
    return feature


def spatial_mean(item: SiteProduct, values: torch.Tensor) -> torch.Tensor:
    """Return the spatial mean of a product's feature map or output, `(image, channel)` or with branches.

    Half precision is averaged in float32.
    """
    product = item.product
    free = [axis for axis in range(values.dim()) if axis != product.image_axis and axis not in product.axes]
    mean = values.detach().mean(free, keepdim=True, dtype=torch.promote_types(values.dtype, torch.float32))
    return canonical(mean, product.axes, item.point.product_shape, product.image_axis)
