"""What surrounds a gate: its logits, the squeeze it is computed from, and the feature map before and after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from se_probe.errors import SeProbeError
from se_probe.gates.site import HookPoint
from se_probe.trace.operation import Operation, Product, canonical
from se_probe.trace.watching import PRODUCTS, WatchMode

# What can be captured, and the signals that each gives. "feature" is the spatial mean of the feature map.
CAPTURES: Mapping[str, tuple[str, ...]] = {
    "gate": ("gate",),
    "logit": ("logit",),
    "squeeze": ("squeeze",),
    "feature": ("feature_before", "feature_after"),
}

_Key = tuple[str, str, int]


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

    Logits need one bounding operation, a squeeze needs one unit a channel; the squeeze has no branches.
    """
    if signal == "squeeze":
        return point.shape[-1:] if point.squeeze else None
    return None if signal == "logit" and point.logit is None else point.shape


class SignalMode(WatchMode):
    """Reads the signals of all sites off the operations of one forward pass of the network."""

    def __init__(self, points: Mapping[str, HookPoint], signals: Sequence[str]) -> None:
        super().__init__()
        self._parts: dict[_Key, torch.Tensor] = {}
        self._inputs: dict[Operation, list[tuple[_Key, Callable[[Any], torch.Tensor]]]] = defaultdict(list)
        self._outputs: dict[Operation, list[tuple[_Key, Callable[[Any], torch.Tensor]]]] = defaultdict(list)
        for name, point in points.items():
            if "logit" in signals and point.logit:
                self._inputs[point.logit].append((("logit", name, 0), partial(_logit, point)))
            if "squeeze" in signals and point.squeeze:
                self._outputs[point.squeeze].append((("squeeze", name, 0), partial(_squeeze, point)))
            for part, product in enumerate(point.products if "feature_before" in signals else ()):
                before, after = ("feature_before", name, part), ("feature_after", name, part)
                self._inputs[product.operation].append((before, partial(_feature_before, point, product)))
                self._outputs[product.operation].append((after, partial(_spatial_mean, point, product)))

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation; read its inputs before it may overwrite them, and its output."""
        operation = self._operation
        for key, read in self._inputs.get(operation, ()):
            self._parts[key] = read(args)
        output = func(*args, **kwargs)
        for key, read in self._outputs.get(operation, ()):
            self._parts[key] = read(output)
        return output

    def caught(self) -> dict[tuple[str, str], torch.Tensor]:
        """Return (signal, site) → `(image, channel)` or `(image, branch, channel)`."""
        parts: dict[tuple[str, str], list[torch.Tensor]] = defaultdict(list)
        for signal, name, part in sorted(self._parts, key=lambda key: key[2]):
            parts[signal, name].append(self._parts[signal, name, part])
        return {key: item[0] if len(item) == 1 else torch.stack(item, dim=1) for key, item in parts.items()}


def _logit(point: HookPoint, args: tuple[Any, ...]) -> torch.Tensor:
    logits: torch.Tensor = args[0].detach()
    return logits.reshape(-1, *point.shape).clone()


def _squeeze(point: HookPoint, output: torch.Tensor) -> torch.Tensor:
    return output.detach().reshape(-1, point.shape[-1]).clone()


def _feature_before(point: HookPoint, product: Product, args: tuple[Any, ...]) -> torch.Tensor:
    feature = next(args[i] for i in PRODUCTS[product.operation.name] if i != product.operand)
    return _spatial_mean(point, product, feature)


def _spatial_mean(point: HookPoint, product: Product, values: torch.Tensor) -> torch.Tensor:
    free = [axis for axis in range(1, values.dim()) if axis not in product.axes]
    dtype = torch.promote_types(values.dtype, torch.float32)
    return canonical(values.detach().mean(free, keepdim=True, dtype=dtype), product.axes, point.product_shape)
