"""Runs a network again from a site on: module calls that ended before it return what they returned the last time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

import torch
from torch import nn

from se_probe.gates.prefix import Prefix, prefix_of, watch
from se_probe.gates.site import GateSite, hook_point_of
from se_probe.trace.example import noise_for
from se_probe.trace.watching import tensors_in


class Resumable:
    """Forward passes of a network over one batch that share the computation before a site.

    Args:
        network: the network, in evaluation mode, as for `GateRecorder`.
        sites: where passes may be resumed, as `find_gates` returned them, in network order.
        input_size: `(3, H, W)` of the passes.

    Example:
        >>> passes = Resumable(network, sites, (3, 224, 224))
        >>> with torch.inference_mode(), passes.kept():
        ...     clean = network(batch)
        ...     with intervene(network, {site: Identity()}), passes.resumed([site]):
        ...         changed = network(batch)  # runs from the site on

    A resumed pass equals a whole one bit for bit: every way of resuming is tried on noise first, and passes from a
    site where anything differs are run whole.
    """

    def __init__(self, network: nn.Module, sites: Sequence[GateSite], input_size: Sequence[int]) -> None:
        self._network = network
        self._order = {site.name: place for place, site in enumerate(sites)}
        self._kept: dict[tuple[int, bool], torch.Tensor] = {}
        noise = noise_for(network, input_size)
        seen = watch(network, noise)
        self._calls = seen.calls
        self._prefixes = {site.name: found for site in sites if (found := prefix_of(seen, site, sites)) is not None}
        self._try_out(noise, sites)

    @property
    def whole(self) -> list[str]:
        """Names of the sites from which no pass can be resumed."""
        return [name for name in self._order if name not in self._prefixes]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep until the end of the block what the first forward pass in it computes before each site."""
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
        """Let passes over the same batch run from the first of `sites` on; those are all that may differ."""
        changed = sorted(sites, key=lambda site: self._order[site.name])
        prefix = self._prefixes.get(changed[0].name) if changed else None
        # The calls of a module that is called several times are counted, and a resumed pass makes fewer of them.
        if prefix is None or any(hook_point_of(site).product_calls > 1 for site in changed):
            yield
            return
        with ExitStack() as patches:
            for path, numbers in prefix.entries.items():
                outputs = [None if number is None else self._output(prefix, number) for number in numbers]
                patches.enter_context(_returning(self._network.get_submodule(path), outputs))
            yield

    def _output(self, prefix: Prefix, number: int) -> torch.Tensor:
        changed = number in prefix.changed
        return self._kept[number, changed].clone() if changed else self._kept[number, False]

    def _numbers(self) -> dict[str, dict[int, int]]:
        """Path of a module → index of a call that may be left out → its number among all calls."""
        numbers: dict[str, dict[int, int]] = {}
        for prefix in self._prefixes.values():
            for path, row in prefix.entries.items():
                for number in [item for item in row if item is not None]:
                    numbers.setdefault(path, {})[self._calls[number].index] = number
        return numbers

    def _catching(self, numbers: Mapping[int, int]) -> Any:
        needed = frozenset[int]().union(*(prefix.needed - prefix.changed for prefix in self._prefixes.values()))
        changed = frozenset[int]().union(*(prefix.changed for prefix in self._prefixes.values()))
        calls = count()

        def catch(_module: nn.Module, _args: Any, output: torch.Tensor) -> None:
            number = numbers.get(next(calls))
            if number is None:
                return
            # Nothing reads the values of what is not needed, but its shape may be asked for.
            self._kept[number, False] = output if number in needed else output.new_zeros(()).expand(output.shape)
            if number in changed:
                self._kept[number, True] = output.clone()

        return catch

    def _try_out(self, noise: torch.Tensor, sites: Sequence[GateSite]) -> None:
        """Resume from every site once, on noise; give up those where anything differs from the whole pass."""
        with torch.inference_mode(), self.kept():
            whole = tensors_in(self._network(noise))
            for site in [site for site in sites if site.name in self._prefixes]:
                if not self._resumes_exactly(site, noise, whole):
                    del self._prefixes[site.name]

    def _resumes_exactly(self, site: GateSite, noise: torch.Tensor, whole: Sequence[torch.Tensor]) -> bool:
        try:
            with self.resumed([site]):
                again = tensors_in(self._network(noise))
        except Exception:  # Whatever a network's own code raises on a stand-in, it is then run whole.
            return False
        return len(again) == len(whole) and all(map(torch.equal, again, whole))


@contextmanager
def _returning(module: nn.Module, outputs: Sequence[torch.Tensor | None]) -> Iterator[None]:
    """Let the next calls of a module return `outputs` without running; None stands for a call that runs."""
    own = module.__dict__.get("forward")
    forward, calls = module.forward, count()

    def returning(*args: Any, **kwargs: Any) -> Any:
        output = outputs[place] if (place := next(calls)) < len(outputs) else None
        return forward(*args, **kwargs) if output is None else output

    module.forward = returning
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
