"""Resume a pass at a site: module calls that end before it return their outputs from the last whole pass.

A dry pass shows which outputs are needed again, from the storages that every elementary operation reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import nn

from se_probe.gates.site import GateSite, hook_point_of
from se_probe.trace.dry_pass import noise_for
from se_probe.trace.watching import Call, CallMode, Key, product_operands, storage_of, storages_in, tensors_in


class Resumable:
    """Forward passes of a network over one batch that share the computation before a site.

    Args:
        network: the network, in evaluation mode, as for `GateRecorder`.
        sites: where passes may be resumed, in network order.
        input_size: `(3, H, W)` of the passes.

    Example:
        >>> passes = Resumable(network, sites, (3, 224, 224))
        >>> with torch.inference_mode(), passes.kept():
        ...     clean = network(batch)
        ...     with intervene(network, {site: Identity()}), passes.resumed([site]):
        ...         changed = network(batch)  # runs from the site on

    A resumed pass equals a whole one bit for bit: resuming is first tried on noise at every site, and where anything
    differs, whole passes are run.
    """

    def __init__(self, network: nn.Module, sites: Sequence[GateSite], input_size: Sequence[int]) -> None:
        self._network = network
        self._order = {site.name: position for position, site in enumerate(sites)}
        self._kept: dict[int, torch.Tensor] = {}
        noise = noise_for(network, input_size)
        log = PassLog()
        log.watch(network, lambda: network(noise))
        self._calls = log.began
        self._prefixes = {site.name: found for site in sites if (found := prefix_of(log, site, sites)) is not None}
        self._try_out(noise, sites)

    @property
    def whole(self) -> list[str]:
        """Names of the sites from which no pass can be resumed."""
        return [name for name in self._order if name not in self._prefixes]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the outputs of the first forward pass in the block until the block ends."""
        with ExitStack() as block:
            block.callback(self._kept.clear)
            hooks = block.enter_context(ExitStack())
            for path, numbers in self._numbers().items():
                hook = self._catching(numbers)
                hooks.callback(self._network.get_submodule(path).register_forward_hook(hook).remove)
            hooks.callback(self._network.register_forward_hook(lambda *_hook: hooks.close()).remove)
            yield

    @contextmanager
    def resumed(self, sites: Iterable[GateSite]) -> Iterator[None]:
        """Run passes over the same batch from the first of `sites` on, the only ones that may differ."""
        changed = sorted(sites, key=lambda site: self._order[site.name])
        prefix = self._prefixes.get(changed[0].name) if changed else None
        # Calls of a module that is called several times are counted, and a resumed pass makes fewer of them.
        if prefix is None or any(hook_point_of(site).product_calls > 1 for site in changed):
            yield
            return
        with ExitStack() as patches:
            for path, numbers in prefix.entries.items():
                outputs = [None if number is None else self._output(prefix, number) for number in numbers]
                patches.enter_context(_returning(self._network.get_submodule(path), outputs))
            yield

    def _output(self, prefix: Prefix, number: int) -> torch.Tensor:
        # The pass may change its inputs in place.
        return self._kept[number].clone() if number in prefix.needed else self._kept[number]

    def _numbers(self) -> dict[str, dict[int, int]]:
        """Return module path → index of a call that may be skipped → its number among all calls."""
        numbers: dict[str, dict[int, int]] = defaultdict(dict)
        for prefix in self._prefixes.values():
            for number in prefix.left_out:
                call = self._calls[number]
                numbers[call.module][call.index] = number
        return numbers

    def _catching(self, numbers: Mapping[int, int]) -> Any:
        needed = frozenset[int]().union(*(prefix.needed for prefix in self._prefixes.values()))
        calls = count()

        def catch(_module: nn.Module, _args: Any, output: torch.Tensor) -> None:
            number = numbers.get(next(calls))
            if number is not None:
                # Only the shape of outputs that are not needed may be read.
                self._kept[number] = output.clone() if number in needed else output.new_zeros(()).expand(output.shape)

        return catch

    def _try_out(self, noise: torch.Tensor, sites: Sequence[GateSite]) -> None:
        """Resume at every site once, on noise; drop sites where anything differs from the whole pass."""
        with torch.inference_mode(), self.kept():
            whole = tensors_in(self._network(noise))
            for site in [site for site in sites if site.name in self._prefixes]:
                if not self._resumes_exactly(site, noise, whole):
                    del self._prefixes[site.name]

    def _resumes_exactly(self, site: GateSite, noise: torch.Tensor, whole: Sequence[torch.Tensor]) -> bool:
        try:
            with self.resumed([site]):
                again = tensors_in(self._network(noise))
        except Exception:  # The network's own code may raise anything; passes are then run whole.
            return False
        return len(again) == len(whole) and all(map(torch.equal, again, whole))


@contextmanager
def _returning(module: nn.Module, outputs: Sequence[torch.Tensor | None]) -> Iterator[None]:
    """Let the next calls of a module return `outputs` without running; a call runs where the output is None."""
    own = module.__dict__.get("forward")
    forward, calls = module.forward, count()

    def returning(*args: Any, **kwargs: Any) -> Any:
        output = outputs[index] if (index := next(calls)) < len(outputs) else None
        return forward(*args, **kwargs) if output is None else output

    module.forward = returning
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


@dataclass
class LoggedCall(Call):
    """A module call of a logged pass.

    `parent` is the number of the call around it, `end` the number of operations before its end, `output` the storage
    of its output if that is one tensor.
    """

    number: int = 0
    parent: int | None = None
    end: int = 0
    output: int | None = None


class PassLog(CallMode):
    """A logged pass."""

    def __init__(self) -> None:
        super().__init__()
        self.began: list[LoggedCall] = []  # in order of their start
        # For each operation, the number of the innermost call around it and the storages that it reads.
        self.reads: list[tuple[int, frozenset[int]]] = []
        self.products: dict[Key, int] = {}  # number of a product's operation
        self.returned: frozenset[int] = frozenset()  # storages of the network's outputs
        self._open: list[int] = []
        # Tensors are kept, so that no storage takes the identity of another.
        self._tensors: list[torch.Tensor] = []

    def begin(self, path: str, args: Any) -> Call:
        """Log the start of a call."""
        parent = self._open[-1] if self._open else None
        self._open.append(len(self.began))
        self.began.append(LoggedCall(path, self.calls[path], number=len(self.began), parent=parent))
        return self.began[-1]

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """Log the end of a call."""
        super().leave(_module, _args, output)
        call = self.began[self._open.pop()]
        call.end = len(self.reads)
        if isinstance(output, torch.Tensor):
            call.output = storage_of(output)
        if not self._open:
            self.returned = storages_in(output)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation and log it."""
        if product_operands(func, args) is not None:
            self.products[self.count_product()] = len(self.reads)
        output = func(*args, **kwargs)
        self._tensors += tensors_in(output)
        self.reads.append((self._open[-1], storages_in((args, kwargs))))
        return output


@dataclass(frozen=True)
class Prefix:
    """What a pass resumed at a site may skip."""

    # Path of a module → for each of its calls that the pass makes, in order, the number of the call whose output it
    # returns without running, or None if it runs.
    entries: dict[str, list[int | None]]
    needed: frozenset[int]  # numbers of those calls whose outputs are read again

    @property
    def left_out(self) -> set[int]:
        """Numbers of the outermost calls that are skipped."""
        return {number for numbers in self.entries.values() for number in numbers if number is not None}


def prefix_of(log: PassLog, site: GateSite, sites: Sequence[GateSite]) -> Prefix | None:
    """Return what may be skipped before the first product of a site, None for nothing.

    Calls that make products of `sites` are skipped whole or not at all, because their products are checked.
    """
    point = hook_point_of(site)
    first = min(log.products[site.module, point.product_call, product.index] for product in point.products)
    within = _within(log.began, first, {(item.module, hook_point_of(item).product_call) for item in sites})
    entries: dict[str, list[int | None]] = defaultdict(list)
    for call, skipped in zip(log.began, within, strict=True):
        if call.parent is None or within[call.parent] is None:
            entries[call.module].append(skipped)
    read = log.returned.union(*(storages for call, storages in log.reads if within[call] is None))
    left_out = [number for numbers in entries.values() for number in numbers if number is not None]
    needed = frozenset(number for number in left_out if log.began[number].output in read)
    return Prefix({path: row for path, row in entries.items() if any(row)}, needed) if left_out else None


def _within(calls: Sequence[LoggedCall], first: int, checked: Set[tuple[str, int]]) -> list[int | None]:
    """Return for each call the outermost call around it, or itself, that can be skipped before the operation `first`.

    Calls inside one of the `checked` calls, (module, index), are skipped only with it.
    """
    within: list[int | None] = []
    inside_checked: list[bool] = []
    for call in calls:
        if call.parent is None:
            within.append(None)
            inside_checked.append(False)
            continue
        parent = calls[call.parent]
        inside_checked.append(inside_checked[call.parent] or (parent.module, parent.index) in checked)
        ends = call.output is not None and call.end <= first and not inside_checked[-1]
        around = within[call.parent]
        within.append(around if around is not None else call.number if ends else None)
    return within
