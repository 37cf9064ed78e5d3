"""Factors of products that one pass found, read again in another pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from se_probe.trace.axes import nearly_equal
from se_probe.trace.calls import CallMode, Key
from se_probe.trace.dry_pass import watched_pass
from se_probe.trace.example import Example
from se_probe.trace.products import Event
from se_probe.trace.watching import product_operands


class FactorMode(CallMode):
    """Reads the factors of products that another pass found, by their keys."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__()
        self._wanted = {event.key: event for event in events}
        self.factors: dict[Key, torch.Tensor] = {}
        self.flat: dict[Key, bool] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one elementary operation."""
        if product_operands(func, args) is not None:
            event = self._wanted.get(self.count_product())
            if event is not None and self._is_same(event, args):
                product, shape = event.product, tuple(event.values.shape[1:])
                self.factors[event.key] = product.read(args, shape).clone()
                if event.geometry.written_out:
                    whole = product.replace(args, self.factors[event.key])[product.operand]
                    self.flat[event.key] = nearly_equal(whole, args[product.operand])
        return func(*args, **kwargs)

    def _is_same(self, event: Event, args: tuple[Any, ...]) -> bool:
        factor = args[event.product.operand]
        return self._operation.name == event.product.operation.name and factor.dim() == event.product.rank


def factors_of(
    network: nn.Module, example: Example, events: Sequence[Event], seed: int, call: Callable[..., Any] | None = None
) -> FactorMode:
    """Return the factors of known products in another pass.

    Args:
        network: the network.
        example: what it is called with.
        events: the products.
        seed: of the pass's random numbers.
        call: what is called in place of the network, and calls it.

    Raises:
        SeProbeError: the pass failed.
    """
    mode = FactorMode(events)
    watched_pass(network, example, lambda item, given: mode.watch(item, given, call), seed)
    return mode
