"""Follow forward passes through the products of a network's sites, and check that every pass makes the same products.

While a module that multiplies by gates runs, a dispatch mode sees its products. The recorders and interventions of a
thread share the hooks on a module, so that the order in which they were entered does not matter: interventions change
the factor of a product, then recorders read it.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from se_probe.errors import SeProbeError
from se_probe.gates import hooks
from se_probe.gates.hooks import another_way, module_of, reading
from se_probe.gates.site import GateSite, HookPoint, hook_point_of
from se_probe.trace.operation import Product, operation_name
from se_probe.trace.watching import Origins, decomposed, decomposes, product_operands


@dataclass(frozen=True)
class SiteProduct:
    """One product of a site, which is its `part`-th branch if the site has several products."""

    site: str
    part: int
    product: Product
    point: HookPoint


class PassFollower:
    """Base class of recorders and interventions, which follow passes between `__enter__` and `__exit__`.

    A pass is a call of the network. For another entry point (`network.forward_features`, a wrapper that calls parts of
    the network), a pass ends when every multiplying module was called as often as in the dry pass. Passes in other
    threads are ignored.

    Attributes:
        in_training: whether the network may be in training mode.
        elsewhere: whether the current pass uses another entry point than a call of the network.
    """

    in_training = False

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
        self._running = self._in_call = self.elsewhere = False
        self._depth = 0

    def _begin_pass(self, batch: Any) -> None:
        """Called before a pass; `batch` is the first argument of the network, None if a part of it is called."""

    def _end_pass(self) -> None:
        """Called after a pass that made all products."""

    def _leave_pass(self) -> None:
        """Called when a call of the network has ended or failed."""

    def _change(self, item: SiteProduct, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments from which a product will be computed."""
        return args

    def _before(self, item: SiteProduct, original: tuple[Any, ...], args: tuple[Any, ...]) -> None:
        """Called before a product, with the network's arguments and those with which it is computed."""

    def _after(self, item: SiteProduct, output: torch.Tensor) -> None:
        """Called after a product."""

    @property
    def complete(self) -> bool:
        """Whether the current pass has made every call of the multiplying modules."""
        return self._calls == self._expected

    @property
    def missed(self) -> list[str]:
        """Names of the sites that the current pass has not reached; none after a failed pass."""
        if not self._running:
            return []
        return [name for name, path in self._paths.items() if self._calls[path] < self._expected[path]]

    def __enter__(self) -> Self:
        if self._block is not None:
            raise SeProbeError(
                f"this {type(self).__name__} is already in use; leave its with block first, or make a second one."
            )
        hooks.check_recordable(self.network, in_training=self.in_training)
        modules = {path: module_of(self.network, path) for path in self._expected}
        with ExitStack() as block:
            block.enter_context(_hooked(self.network, self))
            for path, module in modules.items():
                block.enter_context(_hooked(module, self, path))
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
        """Refuse calls of the network's parts alone, for networks whose own forward makes products."""
        thread = threading.get_ident()

        def guard(_module: nn.Module, _args: Any) -> None:
            if threading.get_ident() == thread and not self._in_call:
                raise SeProbeError(
                    f"a part of {type(self.network).__name__} was called outside a call of the network, whose own "
                    "forward multiplies by gates; call network(...) itself, not one of its methods or parts."
                )

        with ExitStack() as handles:
            for child in _called_by(self.network):
                handles.callback(child.register_forward_pre_hook(guard).remove)
            yield

    def _enter_network(self, batch: Any) -> None:
        if self._in_call:
            hooks.unwind_to(self._depth)
            raise SeProbeError(
                "the previous pass was interrupted, or the network calls itself; run the pass again, and for a network "
                "that calls itself, pass the module that it calls."
            )
        self._in_call, self._depth = True, hooks.active_modes()
        self._begin(batch, elsewhere=False)

    def _begin(self, batch: Any = None, *, elsewhere: bool) -> None:
        if self.network.training and not self.in_training:
            raise SeProbeError(hooks.TRAINING)
        self._calls.clear()
        self._running, self.elsewhere = True, elsewhere
        self._begin_pass(batch)

    def _end(self) -> None:
        if not self.complete:
            names = ", ".join(n for n, path in self._paths.items() if self._calls[path] != self._expected[path])
            raise another_way(f"the modules of {names} were not called as often as in that pass")
        self._running = False
        self._end_pass()

    def _enter_call(self, path: str) -> Sequence[SiteProduct]:
        if not self._in_call and (not self._running or self._calls[path] == self._expected[path]):
            missed, self._running = self.missed, False
            if missed:
                raise another_way(f"the previous pass ended without reaching {', '.join(missed)}")
            self._begin(elsewhere=True)
        call = self._calls[path]
        self._calls[path] += 1
        return self._products.get((path, call), ())

    def _leave_call(self) -> None:
        if self.elsewhere and self.complete:
            self._end()


def _called_by(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the children of a module; a container is replaced by the modules inside it."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _called_by(child)
        else:
            yield child


class _ModuleHooks:
    """The hooks of one thread on a module, for followers of this network (`roots`) or with sites in this module."""

    def __init__(self, module: nn.Module) -> None:
        self.roots: list[PassFollower] = []
        self.followers: list[tuple[PassFollower, str]] = []
        self._thread = threading.get_ident()
        self._left: TorchDispatchMode | None = None
        self.handles = ExitStack()
        self.handles.callback(module.register_forward_pre_hook(self._enter).remove)
        self.handles.callback(module.register_forward_hook(self._leave, always_call=True).remove)
        self.handles.callback(module.register_forward_hook(self._end).remove)

    def _enter(self, _module: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() != self._thread:
            return
        for root in self.roots:
            root._enter_network(args[0] if args else None)
        wanted: dict[int, list[tuple[PassFollower, SiteProduct]]] = defaultdict(list)
        for follower, path in self.followers:
            for item in follower._enter_call(path):
                wanted[item.product.index].append((follower, item))
        if wanted:
            hooks.push_mode(self, _CallMode(wanted, args))

    def _leave(self, *_hook: Any) -> None:
        """Leave a call that ended or failed."""
        if threading.get_ident() == self._thread:
            self._left = hooks.pop_mode(self)
            for root in reversed(self.roots):
                root._in_call = root._running = False
                root._leave_pass()

    def _end(self, *_hook: Any) -> None:
        """Check a call that ended."""
        if threading.get_ident() != self._thread:
            return
        mode, self._left = self._left, None
        if isinstance(mode, _CallMode):
            mode.check_count()
        for follower, _ in self.followers:
            follower._leave_call()
        for root in self.roots:
            root._end()


# By thread and module.
_HOOKED: dict[tuple[int, nn.Module], _ModuleHooks] = {}


@contextmanager
def _hooked(module: nn.Module, follower: PassFollower, path: str | None = None) -> Iterator[None]:
    """Hook a module for a follower: its network or, with a path, a module that multiplies."""
    key = threading.get_ident(), module
    hooked = _HOOKED.get(key) or _HOOKED.setdefault(key, _ModuleHooks(module))
    members: list[Any] = hooked.roots if path is None else hooked.followers
    member = follower if path is None else (follower, path)
    members.append(member)
    try:
        yield
    finally:
        hooks.unwind(follower if path is None else hooked)
        members.remove(member)
        if not hooked.roots and not hooked.followers:
            hooked.handles.close()
            del _HOOKED[key]


def others_complete(network: nn.Module) -> bool:
    """Whether all followers of the network in this thread have complete passes."""
    return all(follower.complete for follower in _HOOKED[threading.get_ident(), network].roots)


def joined(parts: Mapping[int, torch.Tensor]) -> torch.Tensor:
    """Return the values of a site's products as one tensor, `(image, channel)` or `(image, branch, channel)`."""
    ordered = [parts[part] for part in sorted(parts)]
    return ordered[0] if len(ordered) == 1 else torch.stack(ordered, dim=1)


class _CallMode(TorchDispatchMode):
    """Checks the products of one call of a module, and passes them to the followers."""

    def __init__(
        self, wanted: Mapping[int, Sequence[tuple[PassFollower, SiteProduct]]], arguments: Sequence[Any]
    ) -> None:
        super().__init__()
        self._wanted = wanted
        self._origins = Origins(arguments)
        self._seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if hooks.is_reading():
            return func(*args, **kwargs)
        if decomposes(func):
            with self:
                return decomposed(func, args, kwargs)
        operands = product_operands(func, args)
        wanted: Sequence[tuple[PassFollower, SiteProduct]] = ()
        if operands is not None:
            wanted = self._wanted.get(self._seen, ())
            self._seen += 1
        output = self._product(wanted, func, args, kwargs) if wanted else func(*args, **kwargs)
        self._origins.note(func, args, output)
        return output

    def check_count(self) -> None:
        """Raise SeProbeError if the call made more or fewer products than in the dry pass."""
        for _, item in (pair for pairs in self._wanted.values() for pair in pairs):
            expected = item.point.products_in_call
            if expected != self._seen:
                raise another_way(f"the module of {item.site} made {self._seen} products, not {expected}")

    def _product(
        self,
        wanted: Sequence[tuple[PassFollower, SiteProduct]],
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        original = args
        origins = tuple(self._origins.of(args[position]) for position in product_operands(func, args) or ())
        with reading():
            for _, item in wanted:
                different = item.product.difference(operation_name(func), args, origins, item.point.product_shape)
                if different is not None:
                    raise another_way(f"at {item.site} {different}")
            for follower, item in wanted:
                args = follower._change(item, args)
            for follower, item in wanted:
                follower._before(item, original, args)
            if func._schema.is_mutable and args[0] is not original[0]:
                args = (original[0].copy_(args[0]), *args[1:])
        output = func(*args, **kwargs)
        with reading():
            for follower, item in wanted:
                follower._after(item, output)
        return output
