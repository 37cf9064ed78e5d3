"""Find what comes before a site in a pass: the module calls that have ended, and the outputs that are read later.

Read off one dry pass in which every elementary operation is seen with the storages that it reads and changes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from se_probe.gates.site import GateSite, hook_point_of
from se_probe.trace.watching import WatchMode, module_hooks, product_operands, storage_of, tensors_in


@dataclass
class Call:
    """One call of a module, the `index`-th of that path, made inside the call number `parent`.

    `end` is the number of steps before its end, `output` the storage of its output where that is one tensor, and
    `products` the number of multiplications made inside it so far.
    """

    module: str
    index: int
    parent: int | None
    end: int = 0
    output: int | None = None
    products: int = 0


@dataclass(frozen=True)
class Step:
    """One elementary operation: the number of the innermost call around it, and the storages it reads and changes."""

    call: int
    reads: frozenset[int]
    changes: frozenset[int]


@dataclass
class Pass:
    """A forward pass: its calls in the order in which they began, and its steps.

    `products` places the products among the steps, by (module, call, product); `output` holds the storages of what
    the network returned.
    """

    calls: list[Call] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    products: dict[tuple[str, int, int], int] = field(default_factory=dict)
    output: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Prefix:
    """What a pass that is resumed at a site may leave out.

    Attributes:
        entries: path of a module → for each of its calls that the pass comes to, in order, the number of the call
            whose output it returns without running, or None where it runs.
        needed: numbers of those calls whose outputs are read again.
        changed: those of `needed` whose outputs the pass changes in place.
    """

    entries: dict[str, list[int | None]]
    needed: frozenset[int]
    changed: frozenset[int]


def watch(network: nn.Module, batch: torch.Tensor) -> Pass:
    """Run one forward pass and return its calls and steps."""
    watcher = _Watcher()
    with torch.no_grad(), module_hooks(network, watcher.enter_hook, watcher.leave), watcher:
        output = network(batch)
    watcher.seen.output = frozenset(map(storage_of, tensors_in(output)))
    return watcher.seen


def prefix_of(seen: Pass, site: GateSite, sites: Sequence[GateSite]) -> Prefix | None:
    """Return what may be left out before the first product of a site; None where nothing can be told to be safe.

    Calls that make products of `sites` are left out whole or not at all, since their products are checked.
    """
    point = hook_point_of(site)
    first = min(seen.products[site.module, point.product_call, p.index] for p in point.products)
    checked = {(item.module, hook_point_of(item).product_call) for item in sites}
    within = _within(seen.calls, first, checked)
    entries: dict[str, list[int | None]] = defaultdict(list)
    for call, skipped in zip(seen.calls, within, strict=True):
        if call.parent is None or within[call.parent] is None:
            entries[call.module].append(skipped)
    running = [step for step in seen.steps if within[step.call] is None]
    read = seen.output.union(*(step.reads for step in running))
    written = frozenset[int]().union(*(step.changes for step in running))
    numbers = {number for numbers in entries.values() for number in numbers if number is not None}
    needed = frozenset(number for number in numbers if seen.calls[number].output in read)
    changed = frozenset(number for number in needed if seen.calls[number].output in written)
    if not numbers or any(_changed_by_skipped(seen, within, number) for number in changed):
        return None
    return Prefix({path: row for path, row in entries.items() if any(row)}, needed, changed)


def _within(calls: Sequence[Call], first: int, checked: Set[tuple[str, int]]) -> list[int | None]:
    """Return for each call the outermost call around it, or itself, that ends before the step `first`.

    What is inside one of the `checked` calls, (module, index), ends with it.
    """
    within: list[int | None] = []
    held: list[bool] = []
    for number, call in enumerate(calls):
        around = None if call.parent is None else within[call.parent]
        held.append(call.parent is not None and (held[call.parent] or _key(calls[call.parent]) in checked))
        ends = call.parent is not None and call.output is not None and call.end <= first and not held[number]
        within.append(around if around is not None else number if ends else None)
    return within


def _key(call: Call) -> tuple[str, int]:
    return call.module, call.index


def _changed_by_skipped(seen: Pass, within: Sequence[int | None], number: int) -> bool:
    """Whether an operation that is left out changes a call's output after its end."""
    call = seen.calls[number]
    later = seen.steps[call.end :]
    return any(call.output in step.changes for step in later if within[step.call] is not None)


class _Watcher(WatchMode):
    """Notes calls and steps; what operations return is held, so that no storage takes the identity of another."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Pass()
        self._calls_of = Counter[str]()
        self._stack: list[int] = []
        self._held: list[torch.Tensor] = []

    def enter_hook(self, path: str) -> Any:
        def enter(_module: nn.Module, _args: Any) -> None:
            parent = self._stack[-1] if self._stack else None
            self._stack.append(len(self.seen.calls))
            self.seen.calls.append(Call(path, self._calls_of[path], parent))
            self._calls_of[path] += 1

        return enter

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        call = self.seen.calls[self._stack.pop()]
        call.end = len(self.seen.steps)
        if isinstance(output, torch.Tensor):
            call.output = storage_of(output)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation and note it."""
        if product_operands(func, args) is not None:
            self._count_product()
        output = func(*args, **kwargs)
        made = tensors_in(output)
        self._held += made
        reads = frozenset(map(storage_of, tensors_in((args, kwargs))))
        changes = frozenset(map(storage_of, made)) if func._schema.is_mutable else frozenset[int]()
        self.seen.steps.append(Step(self._stack[-1], reads, changes))
        return output

    def _count_product(self) -> None:
        for number in self._stack:
            self.seen.calls[number].products += 1
        inner = self.seen.calls[self._stack[-1]]
        self.seen.products[inner.module, inner.index, inner.products - 1] = len(self.seen.steps)
