"""Captures the gates of every batch with forward hooks that come off again, whatever happens."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.signals import SignalMode, signal_shape, signals_of
from se_probe.gates.site import GateSite, HookPoint, hook_point_of
from se_probe.trace.operation import canonical
from se_probe.trace.watching import ProductMode, WatchMode


class GateRecorder:
    """Gives the gates of each forward pass of a network.

    Args:
        network: the network, in evaluation mode. Wrappers that run copies of it or leave hooks out
            (DataParallel, torch.compile, scripting) are refused.
        sites: what `find_gates` returned for it, or some of them.
        capture: what to read beside the gates: "logit", "squeeze", "feature" (see `se_probe.gates.signals`).

    Example:
        >>> with GateRecorder(network, find_gates(network)) as recorder:
        ...     network(batch)
        ...     recorder.gates["SE_2_3"]  # (image, channel), the factor that the network multiplied by

    A gate is copied where it is produced if a module's output is the gate, and at the multiplication
    otherwise, on the network's device and in its dtype, without waiting for the device. Later in-place
    operations do not reach it. `run(batch)` ends the pass after the last of the sites.

    Raises:
        SeProbeError: the network is in training mode or wrapped, or a site does not belong to it.
    """

    def __init__(self, network: nn.Module, sites: Sequence[GateSite], capture: Sequence[str] = ()) -> None:
        self._network = network
        self._signals = signals_of(capture)
        self._points = {site.name: hook_point_of(site) for site in sites}
        self._shapes = {
            (signal, name): shape
            for signal in self._signals
            for name, point in self._points.items()
            if (shape := signal_shape(point, signal)) is not None
        }
        self._hooks = ExitStack()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._caught: dict[tuple[str, str], torch.Tensor] = {}
        self._modes: list[WatchMode] = []
        self._published: dict[tuple[str, str], torch.Tensor] | None = None
        self._stops = False

    @property
    def shapes(self) -> dict[tuple[str, str], tuple[int, ...]]:
        """(signal, site name) → canonical shape without the image axis, in the order of `signals`."""
        return dict(self._shapes)

    @property
    def gates(self) -> dict[str, torch.Tensor]:
        """Site name → gates of the last batch, `(image, channel)` or `(image, branch, channel)`.

        Raises:
            SeProbeError: no forward pass has come to its end since the recorder was entered or the last one
                failed.
        """
        return {site: values for (signal, site), values in self.signals.items() if signal == "gate"}

    @property
    def signals(self) -> dict[tuple[str, str], torch.Tensor]:
        """(signal, site name) → values of the last batch; the signals that a site does not have are left out.

        Raises:
            SeProbeError: as for `gates`.
        """
        if self._published is None:
            raise SeProbeError(
                "the recorder holds no gates: no forward pass of the network has come to its end since it was "
                "entered, or the last one failed; run network(batch) inside the with block."
            )
        return self._published

    def run(self, batch: torch.Tensor) -> dict[tuple[str, str], torch.Tensor]:
        """Run the entered network up to the last site, without what comes after it, and return the `signals`.

        Where more than the gates is captured the pass runs to its end.

        Raises:
            SeProbeError: as for `gates`.
        """
        self._stops = self._signals == ("gate",)
        try:
            self._network(batch)
        except _LastSite:
            self._end(self._network, (batch,), None)
        finally:
            self._stops = False
        return self.signals

    def __enter__(self) -> Self:
        check_recordable(self._network)
        outputs, products = _by_module(self._points, "output"), _by_module(self._points, "product")
        with ExitStack() as hooks:
            hooks.callback(self._leave_modes)
            hooks.callback(self._network.register_forward_pre_hook(self._begin).remove)
            for path, names in outputs.items():
                hooks.callback(
                    module_of(self._network, path).register_forward_hook(self._output_hook(path, names)).remove
                )
            for path, names in products.items():
                module, (enter, leave) = module_of(self._network, path), self._product_hooks(path, names)
                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
            hooks.callback(self._network.register_forward_hook(self._leave, always_call=True).remove)
            hooks.callback(self._network.register_forward_hook(self._end).remove)
            self._hooks = hooks.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()

    def _begin(self, network: nn.Module, _args: Any) -> None:
        self._published = None
        self._calls.clear()
        self._caught.clear()
        if network.training:
            raise SeProbeError(_TRAINING)
        if self._signals != ("gate",):
            self._enter_mode(SignalMode(self._points, self._signals))

    def _enter_mode(self, mode: WatchMode) -> None:
        mode.__enter__()
        self._modes.append(mode)

    def _leave_mode(self) -> None:
        mode = self._modes.pop()
        mode.__exit__(None, None, None)
        self._caught.update(mode.caught())

    def _leave(self, _network: nn.Module, _args: Any, _output: Any) -> None:
        while self._modes:
            self._leave_mode()

    def _stop_after_last_site(self) -> None:
        """End the pass where nothing is left to be read, if that was asked for."""
        if self._stops and self._caught.keys() >= self._shapes.keys() and not self._miscounted():
            raise _LastSite

    def _miscounted(self) -> set[str]:
        return {point.module for point in self._points.values() if self._calls[_key(point)] != point.calls}

    def _end(self, _network: nn.Module, args: Any, _output: Any) -> None:
        """Publish the batch, whole or not at all."""
        wrong = self._miscounted()
        missing = [" of ".join(key) for key in self._shapes if key not in self._caught]
        images = {values.shape[0] for values in self._caught.values()}
        if args and isinstance(args[0], torch.Tensor):
            images.add(args[0].shape[0])
        if wrong or missing or len(images) > 1:
            raise SeProbeError(
                f"this forward pass took another way than the dry pass: modules called more or less often "
                f"{sorted(wrong)}, not reached {missing}, images {sorted(images)}; the batch is not recorded."
            )
        self._published = {key: self._caught[key] for key in self._shapes}

    def _output_hook(self, path: str, names: Sequence[str]) -> Any:
        by_call = {self._points[name].call: name for name in names}
        key = "output", path

        def catch(_module: nn.Module, _args: Any, output: torch.Tensor) -> None:
            name = by_call.get(self._calls[key])
            self._calls[key] += 1
            if name is not None:
                shape = self._points[name].shape
                self._caught["gate", name] = output.detach().reshape(-1, *shape).clone()
                self._stop_after_last_site()

        return catch

    def _product_hooks(self, path: str, names: Sequence[str]) -> tuple[Any, Any]:
        by_call: dict[int, dict[str, HookPoint]] = defaultdict(dict)
        for name in names:
            by_call[self._points[name].call][name] = self._points[name]
        key = "product", path

        def enter(_module: nn.Module, _args: Any) -> None:
            self._enter_mode(_Reading(by_call.get(self._calls[key], {})))
            self._calls[key] += 1

        def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
            self._leave_mode()
            self._stop_after_last_site()

        return enter, leave

    def _leave_modes(self) -> None:
        """An interrupt skips the hooks that follow it; leave what they would have left."""
        while self._modes:
            self._modes.pop().__exit__(None, None, None)


class _Reading(ProductMode):
    """Reads factors off the multiplications inside one module call."""

    def __init__(self, points: dict[str, HookPoint]) -> None:
        self._wanted = {product.index: product for point in points.values() for product in point.products}
        super().__init__(self._wanted)
        self._points = points
        self._shapes = {product.index: point.product_shape for point in points.values() for product in point.products}
        self._factors: dict[int, torch.Tensor] = {}

    def at_product(self, index: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
        product = self._wanted[index]
        self._factors[index] = canonical(args[product.operand], product.axes, self._shapes[index]).clone()
        return args

    def caught(self) -> dict[tuple[str, str], torch.Tensor]:
        """Return the gates of the sites whose factors were all seen."""
        caught = {}
        for name, point in self._points.items():
            factors = [self._factors[item.index] for item in point.products if item.index in self._factors]
            if len(factors) == len(point.products):
                caught["gate", name] = factors[0] if len(factors) == 1 else torch.stack(factors, dim=1)
        return caught


class _LastSite(Exception):  # noqa: N818 it is no error
    """Ends a forward pass whose last site was read."""


_TRAINING = (
    "the network is in training mode, in which batch statistics and dropout change its gates; "
    "call network.eval() before it is recorded."
)


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
        raise SeProbeError(_TRAINING)


def module_of(network: nn.Module, path: str) -> nn.Module:
    """Return the module of a site at that path; raise SeProbeError where the network has none."""
    try:
        return network.get_submodule(path)
    except AttributeError:
        raise SeProbeError(
            f"the network has no module {path!r}, where a site is tapped; pass the sites that find_gates "
            "returned for this very network."
        ) from None


def _key(point: HookPoint) -> tuple[str, str]:
    return point.kind, point.module


def _by_module(points: dict[str, HookPoint], kind: str) -> dict[str, list[str]]:
    modules: dict[str, list[str]] = defaultdict(list)
    for name, point in points.items():
        if point.kind == kind:
            modules[point.module].append(name)
    return modules
