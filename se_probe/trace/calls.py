"""Module calls around each operation of a pass, and the key by which a product is found again in another pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from se_probe.trace.example import Example
from se_probe.trace.watching import Origins, WatchMode, module_hooks, storage_of, tensors_in

# Path and call of the innermost module around a product, and which product of that call it is.
Key = tuple[str, int, int]


@dataclass
class Call:
    """One call of a module in the forward pass.

    `index` counts the module's calls, `products` the multiplications made inside this one; `inputs` are the
    storages of its positional arguments, `origins` knows what computed its tensors; `args` are the arguments while the
    call lasts.
    """

    module: str
    index: int
    inputs: frozenset[int] = frozenset()
    origins: Origins = field(default_factory=Origins)
    products: int = 0
    output_shape: tuple[int, ...] | None = None
    args: tuple[Any, ...] = ()


class CallMode(WatchMode):
    """Keeps the stack of module calls, outermost first, and how often each module was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self._stack: list[Call] = []

    def watch(self, network: nn.Module, example: Example, call: Callable[..., Any] | None = None) -> None:
        """Run one pass of a network, by another `call` of it where one is given. All hooks come off, come what may."""
        with torch.no_grad(), module_hooks(network, self.enter_hook, self.leave), self:
            example.call(call or network)

    def enter_hook(self, path: str) -> Any:
        """Return the hook that notes the begin of a call of a module."""

        def enter(_module: nn.Module, args: Any) -> None:
            self._stack.append(self.begin(path, args))
            self.calls[path] += 1

        return enter

    def begin(self, path: str, args: Any) -> Call:
        """Return the call that begins."""
        return Call(path, self.calls[path])

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """Note the end of a call."""
        self._stack.pop()

    def count_product(self) -> Key:
        """Count a product in every call around it and return its key."""
        for call in self._stack:
            call.products += 1
        inner = self._stack[-1]
        return inner.module, inner.index, inner.products - 1


def storages_in(tree: Any) -> frozenset[int]:
    """Return the storages of the tensors in nested tuples, lists and dictionaries."""
    return frozenset(map(storage_of, tensors_in(tree)))
