"""Follow forward passes of a network through the products of its sites, and check that every pass makes the same ones.

The recorders and interventions of one thread share the hooks on a module, so that it does not matter which of them was
entered first: interventions change the factor of a product, then recorders read it.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.site import GateSite, HookPoint, hook_point_of
from se_probe.trace.operation import Product
from se_probe.trace.watching import Origins, WatchMode, product_operands

TRAINING = (
    "the network is in training mode, in which batch statistics and dropout change its gates; "
    "call network.eval() before it is recorded."
)


@dataclass(frozen=True)
class SiteProduct:
    """One product of a site: the `part`-th of the site's products, which is its branch where it has several."""

    site: str
    part: int
    product: Product
    point: HookPoint


class PassFollower:
    """Base of what follows the passes of a network between `__enter__` and `__exit__`.

    A pass is a call of the network or, where another entry point is used (`network.forward_features`, a wrapper that
    calls parts of it), the calls of the multiplying modules until each of them was made as often as in the dry pass.
    Passes in other threads are left alone.

    Args:
        network: the network, in evaluation mode, not wrapped.
        sites: the sites to follow.
    """

    def __init__(self, network: nn.Module, sites: Sequence[GateSite]) -> None:
        self.network = network
        self.points = {site.name: hook_point_of(site) for site in sites}
        self._paths = {site.name: site.module for site in sites}
        self._expected = {self._paths[name]: point.product_calls for name, point in self.points.items()}
        self._products: dict[tuple[str, int], list[SiteProduct]] = defaultdict(list)
        for name, point in self.points.items():
            items = [SiteProduct(name, part, product, point) for part, product in enumerate(point.products)]
            self._products[self._paths[name], point.product_call] += items
        self._block: ExitStack | None = None
        self._calls: Counter[str] = Counter()
        self._running = self._in_call = self._elsewhere = False
        self._depth = 0

    def begin_pass(self, batch: Any) -> None:
        """Get ready for a pass; `batch` is the first argument of the network, None where another part is called."""

    def end_pass(self) -> None:
        """Take note that a pass met all products."""

    def leave_pass(self) -> None:
        """Leave what was entered for a call of the network, which has ended or failed."""

    def change(self, item: SiteProduct, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments with which a product is computed."""
        return args

    def before(self, item: SiteProduct, original: tuple[Any, ...], args: tuple[Any, ...]) -> None:
        """Read the arguments of a product: those that the network made, and those that it is computed with."""

    def after(self, item: SiteProduct, output: torch.Tensor) -> None:
        """Read the output of a product."""

    @property
    def elsewhere(self) -> bool:
        """Whether the pass at hand is no call of the network itself."""
        return self._elsewhere

    @property
    def complete(self) -> bool:
        """Whether the pass at hand has made every call of the multiplying modules."""
        return self._calls == self._expected

    @property
    def missed(self) -> list[str]:
        """Names of the sites that a pass which was begun, and did not fail, has not reached."""
        if not self._running:
            return []
        return [name for name, path in self._paths.items() if self._calls[path] < self._expected[path]]

    def __enter__(self) -> Self:
        if self._block is not None:
            raise SeProbeError(
                f"this {type(self).__name__} is in use already; leave its with block first, or make a second one."
            )
        check_recordable(self.network)
        modules = {path: module_of(self.network, path) for path in self._expected}
        with ExitStack() as block:
            hooks = _hooks_of(self.network)
            block.callback(hooks.leave_root, self)
            hooks.roots.append(self)
            for path, module in modules.items():
                block.enter_context(_following(module, self, path))
            if "" in modules:
                block.enter_context(self._guarded())
            self._block = block.pop_all()
        self._calls.clear()
        self._running = self._in_call = False
        return self

    def __exit__(self, *_error: Any) -> None:
        block, self._block = self._block, None
        if block is not None:
            block.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Refuse parts of the network that run outside of its call, where its own forward makes products."""
        thread = threading.get_ident()

        def guard(_module: nn.Module, _args: Any) -> None:
            if threading.get_ident() == thread and not self._in_call:
                raise SeProbeError(
                    f"a part of {type(self.network).__name__} runs outside of a call of the network, whose own forward "
                    "multiplies by gates; call network(...) itself, not one of its methods or parts."
                )

        with ExitStack() as hooks:
            for child in _called_by(self.network):
                hooks.callback(child.register_forward_pre_hook(guard).remove)
            yield

    def _enter_network(self, batch: Any) -> None:
        if self._in_call:
            _thread.unwind_to(self._depth)
            raise SeProbeError(
                "the pass before was interrupted, or the network calls itself; run the pass again, and give a network "
                "that calls itself as the module that it calls."
            )
        self._in_call, self._depth = True, len(_thread.modes)
        self._begin(batch, elsewhere=False)

    def _leave_network(self) -> None:
        self._in_call = self._running = False
        self.leave_pass()

    def _begin(self, batch: Any = None, *, elsewhere: bool) -> None:
        if self.network.training:
            raise SeProbeError(TRAINING)
        self._calls.clear()
        self._running, self._elsewhere = True, elsewhere
        self.begin_pass(batch)

    def _end(self) -> None:
        if not self.complete:
            names = ", ".join(n for n, path in self._paths.items() if self._calls[path] != self._expected[path])
            raise another_way(f"the modules of {names} were not called as often as there")
        self._running = False
        self.end_pass()

    def _enter_call(self, path: str) -> Sequence[SiteProduct]:
        if not self._in_call and (not self._running or self._calls[path] == self._expected[path]):
            missed, self._running = self.missed, False
            if missed:
                raise another_way(f"the pass before ended without reaching {', '.join(missed)}")
            self._begin(elsewhere=True)
        call = self._calls[path]
        self._calls[path] += 1
        return self._products.get((path, call), ())

    def _leave_call(self) -> None:
        if self._elsewhere and self.complete:
            self._end()


def another_way(what: str) -> SeProbeError:
    """Return the error for a pass that is not the one in which the sites were found."""
    return SeProbeError(
        f"this forward pass took another way than the dry pass in which the sites were found: {what}; nothing of it is "
        "recorded or changed. Find the sites with an input for which the network takes this way."
    )


class _Thread(threading.local):
    """What the followers of one thread share: hooks by module, and the modes that are on, outermost first."""

    def __init__(self) -> None:
        self.hooks: dict[nn.Module, _ModuleHooks] = {}
        self.modes: list[tuple[object, WatchMode]] = []
        self.reading = False

    def push(self, owner: object, mode: WatchMode) -> None:
        mode.__enter__()
        self.modes.append((owner, mode))

    def pop(self, owner: object) -> WatchMode | None:
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


_thread = _Thread()


def push_mode(owner: object, mode: WatchMode) -> None:
    """Turn a mode on until `pop_mode`; an interrupted pass turns it off when the follower `owner` is left."""
    _thread.push(owner, mode)


def pop_mode(owner: object) -> WatchMode | None:
    """Turn the innermost mode off if it is that of `owner`, and return it."""
    return _thread.pop(owner)


def others_complete(network: nn.Module) -> bool:
    """Whether all that follow calls of the network in this thread have met their products."""
    return all(follower.complete for follower in _thread.hooks[network].roots)


def is_reading() -> bool:
    """Whether the operations at hand are those of a recorder or an intervention and not the network's."""
    return _thread.reading


@contextmanager
def reading() -> Iterator[None]:
    """Keep the operations in the block from being taken for the network's."""
    before, _thread.reading = _thread.reading, True
    try:
        yield
    finally:
        _thread.reading = before


@dataclass
class _ModuleHooks:
    """The hooks on one module: for the followers of which it is the network, and for those whose sites it has."""

    module: nn.Module
    thread: int
    registry: dict[nn.Module, _ModuleHooks]
    roots: list[PassFollower] = field(default_factory=list)
    followers: list[tuple[PassFollower, str]] = field(default_factory=list)
    handles: ExitStack = field(default_factory=ExitStack)
    left: WatchMode | None = None

    def register(self) -> None:
        self.handles.callback(self.module.register_forward_pre_hook(self._enter).remove)
        self.handles.callback(self.module.register_forward_hook(self._leave, always_call=True).remove)
        self.handles.callback(self.module.register_forward_hook(self._end).remove)

    def leave_root(self, follower: PassFollower) -> None:
        _thread.unwind(follower)
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
            _thread.push(self, _CallMode(wanted, args))

    def _leave(self, *_hook: Any) -> None:
        """Leave the call, whether it came to its end or failed."""
        if threading.get_ident() == self.thread:
            self.left = _thread.pop(self)
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


class _CallMode(WatchMode):
    """Meets the products of one call of a module, checks them, and hands them to the followers."""

    def __init__(
        self, wanted: Mapping[int, Sequence[tuple[PassFollower, SiteProduct]]], arguments: Sequence[Any]
    ) -> None:
        super().__init__()
        self._wanted = wanted
        self._origins = Origins(arguments)
        self._seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _thread.reading:
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation of the call."""
        operands = product_operands(func, args)
        if operands is None:
            output = func(*args, **kwargs)
        else:
            wanted = self._wanted.get(self._seen, ())
            self._seen += 1
            output = self._product(wanted, operands, func, args, kwargs) if wanted else func(*args, **kwargs)
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
        operands: tuple[int, ...],
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        origins = tuple(self._origins.of(args[position]) for position in operands)
        original = args
        with reading():
            for _, item in wanted:
                different = item.product.difference(self._operation.name, args, origins, item.point.product_shape)
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
def _following(module: nn.Module, follower: PassFollower, path: str) -> Iterator[None]:
    hooks = _hooks_of(module)
    hooks.followers.append((follower, path))
    try:
        yield
    finally:
        _thread.unwind(hooks)
        hooks.followers.remove((follower, path))
        hooks.remove_unused()


def _hooks_of(module: nn.Module) -> _ModuleHooks:
    """Return this thread's hooks on a module, registered on first use."""
    if module not in _thread.hooks:
        _thread.hooks[module] = _ModuleHooks(module, threading.get_ident(), _thread.hooks)
        _thread.hooks[module].register()
    return _thread.hooks[module]


def _called_by(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that a module's own forward may call: its children, through containers."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _called_by(child)
        else:
            yield child


def check_recordable(network: nn.Module) -> None:
    """Raise SeProbeError where forward hooks on a network would miss gates or see a part of a batch."""
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise SeProbeError(
            f"the network is wrapped in {type(network).__name__}, whose replicas run without the recorder; "
            "pass network.module and run that."
        )
    if isinstance(network, torch.jit.ScriptModule):
        raise SeProbeError(
            "the network is scripted, and hooks on its modules do not run; pass the Python network that it was "
            "scripted from."
        )
    for path, module in network.named_modules():
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise SeProbeError(
                f"{path or 'the network'} is compiled by torch.compile, which may leave out hooks that are "
                "registered later; pass the network from before it was compiled (compiled._orig_mod) and run that."
            )
    if any(module.training for module in network.modules()):
        raise SeProbeError(TRAINING)


def module_of(network: nn.Module, path: str) -> nn.Module:
    """Return the module of a site at that path; raise SeProbeError where the network has none."""
    try:
        return network.get_submodule(path)
    except AttributeError:
        raise SeProbeError(
            f"the network has no module {path!r}, where a site is tapped; pass the sites that find_gates "
            "returned for this very network."
        ) from None
