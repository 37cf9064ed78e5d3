"""Hooks on the modules that multiply by gates, shared by the recorders and interventions of one thread.

While such a module runs, a dispatch mode meets its products, checks them, lets interventions change the factor and then
lets recorders read it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from se_probe.gates.refusals import another_way
from se_probe.trace.lineage import operation_name
from se_probe.trace.watching import Origins, decomposes, product_operands

if TYPE_CHECKING:
    from se_probe.gates.passes import PassFollower, SiteProduct


class _Thread(threading.local):
    """What the followers of one thread share: hooks by module, and the modes that are on, outermost first."""

    def __init__(self) -> None:
        self.hooks: dict[nn.Module, _ModuleHooks] = {}
        self.modes: list[tuple[object, TorchDispatchMode]] = []
        self.reading = False

    def push(self, owner: object, mode: TorchDispatchMode) -> None:
        mode.__enter__()
        self.modes.append((owner, mode))

    def pop(self, owner: object) -> TorchDispatchMode | None:
        """Leave the innermost mode if it belongs to `owner`, and return it."""
        if not self.modes or self.modes[-1][0] is not owner:
            return None
        mode = self.modes.pop()[1]
        mode.__exit__(None, None, None)
        return mode

    def unwind(self, owner: object) -> None:
        """Leave the modes of `owner` and those inside of them; an interrupt skips the hooks that would have done so."""
        depth = next((place for place, (item, _) in enumerate(self.modes) if item is owner), len(self.modes))
        self.unwind_to(depth)

    def unwind_to(self, depth: int) -> None:
        """Leave all but the outermost `depth` modes."""
        while len(self.modes) > depth:
            self.pop(self.modes[-1][0])


THREAD = _Thread()


def push_mode(owner: object, mode: TorchDispatchMode) -> None:
    """Turn a mode on until `pop_mode`; an interrupted pass turns it off when the follower `owner` is left."""
    THREAD.push(owner, mode)


def pop_mode(owner: object) -> TorchDispatchMode | None:
    """Turn the innermost mode off if it is that of `owner`, and return it."""
    return THREAD.pop(owner)


def others_complete(network: nn.Module) -> bool:
    """Whether all that follow calls of the network in this thread have met their products."""
    return all(follower.complete for follower in THREAD.hooks[network].roots)


def is_reading() -> bool:
    """Whether the operations at hand are those of a recorder or an intervention and not the network's."""
    return THREAD.reading


@contextmanager
def reading() -> Iterator[None]:
    """Keep the operations in the block from being taken for the network's."""
    before, THREAD.reading = THREAD.reading, True
    try:
        yield
    finally:
        THREAD.reading = before


@dataclass
class _ModuleHooks:
    """The hooks on one module: for the followers of which it is the network, and for those whose sites it has."""

    module: nn.Module
    thread: int
    registry: dict[nn.Module, _ModuleHooks]
    roots: list[PassFollower] = field(default_factory=list)
    followers: list[tuple[PassFollower, str]] = field(default_factory=list)
    handles: ExitStack = field(default_factory=ExitStack)
    left: TorchDispatchMode | None = None

    def register(self) -> None:
        self.handles.callback(self.module.register_forward_pre_hook(self._enter).remove)
        self.handles.callback(self.module.register_forward_hook(self._leave, always_call=True).remove)
        self.handles.callback(self.module.register_forward_hook(self._end).remove)

    def leave_root(self, follower: PassFollower) -> None:
        THREAD.unwind(follower)
        self.roots.remove(follower)
        self.remove_unused()

    def remove_unused(self) -> None:
        if not self.roots and not self.followers:
            self.handles.close()
            self.registry.pop(self.module, None)

    def _enter(self, _module: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() != self.thread:
            return
        for root in self.roots:
            root._enter_network(args[0] if args else None)
        wanted: dict[int, list[tuple[PassFollower, SiteProduct]]] = defaultdict(list)
        for follower, path in self.followers:
            for item in follower._enter_call(path):
                wanted[item.product.index].append((follower, item))
        if wanted:
            THREAD.push(self, _CallMode(wanted, args))

    def _leave(self, *_hook: Any) -> None:
        """Leave the call, whether it came to its end or failed."""
        if threading.get_ident() == self.thread:
            self.left = THREAD.pop(self)
            for root in reversed(self.roots):
                root._leave_network()

    def _end(self, *_hook: Any) -> None:
        """Check a call that came to its end."""
        if threading.get_ident() != self.thread:
            return
        mode, self.left = self.left, None
        if isinstance(mode, _CallMode):
            mode.check_count()
        for follower, _ in self.followers:
            follower._leave_call()
        for root in self.roots:
            root._end()


class _CallMode(TorchDispatchMode):
    """Meets the products of one call of a module, checks them, and hands them to the followers."""

    def __init__(
        self, wanted: Mapping[int, Sequence[tuple[PassFollower, SiteProduct]]], arguments: Sequence[Any]
    ) -> None:
        super().__init__()
        self._wanted = wanted
        self._origins = Origins(arguments)
        self._seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if THREAD.reading:
            return func(*args, **kwargs)
        if decomposes(func):
            with self:
                return func.decompose(*args, **kwargs)
        wanted = None
        if product_operands(func, args) is not None:
            wanted = self._wanted.get(self._seen)
            self._seen += 1
        output = func(*args, **kwargs) if wanted is None else self._product(wanted, func, args, kwargs)
        self._origins.note(func, args, output)
        return output

    def check_count(self) -> None:
        """Raise SeProbeError where the call did not make as many products as in the dry pass."""
        for followers in self._wanted.values():
            for _, item in followers:
                if item.point.products_in_call != self._seen:
                    raise another_way(
                        f"the module of {item.site} made {self._seen} products, not {item.point.products_in_call}"
                    )

    def _product(
        self,
        wanted: Sequence[tuple[PassFollower, SiteProduct]],
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        origins = tuple(self._origins.of(args[position]) for position in product_operands(func, args) or ())
        original = args
        with reading():
            for _, item in wanted:
                different = item.product.difference(operation_name(func), args, origins, item.point.product_shape)
                if different is not None:
                    raise another_way(f"at {item.site} {different}")
            for follower, item in wanted:
                args = follower.change(item, args)
            for follower, item in wanted:
                follower.before(item, original, args)
            if func._schema.is_mutable and args[0] is not original[0]:
                args = (original[0].copy_(args[0]), *args[1:])
        output = func(*args, **kwargs)
        with reading():
            for follower, item in wanted:
                follower.after(item, output)
        return output


@contextmanager
def following(module: nn.Module, follower: PassFollower, path: str) -> Iterator[None]:
    """Hand the products that calls of a module make to a follower, which knows the module by `path`."""
    hooks = hooks_of(module)
    hooks.followers.append((follower, path))
    try:
        yield
    finally:
        THREAD.unwind(hooks)
        hooks.followers.remove((follower, path))
        hooks.remove_unused()


def hooks_of(module: nn.Module) -> _ModuleHooks:
    """Return this thread's hooks on a module, registered on first use."""
    if module not in THREAD.hooks:
        THREAD.hooks[module] = _ModuleHooks(module, threading.get_ident(), THREAD.hooks)
        THREAD.hooks[module].register()
    return THREAD.hooks[module]
