"""Record the gates of every forward pass: the factors by which the network multiplies, and the signals beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.discovery import choose_sites
from se_probe.gates.hooks import another_way, is_reading, pop_mode, push_mode, reading
from se_probe.gates.passes import PassFollower, SiteProduct, joined, others_complete
from se_probe.gates.site import GateSite, HookPoint
from se_probe.trace.operation import Operation, canonical
from se_probe.trace.watching import WatchMode

# What can be captured, and the signals that each gives. "original" is the gate before an intervention changed it,
# "feature" the spatial mean of the feature map, "effect" the gate's effect on the outcome, which needs a backward pass.
CAPTURES: Mapping[str, tuple[str, ...]] = {
    "gate": ("gate",),
    "original": ("original",),
    "logit": ("logit",),
    "squeeze": ("squeeze",),
    "feature": ("feature_before", "feature_after"),
    "effect": ("effect",),
}


def signals_of(capture: Sequence[str]) -> tuple[str, ...]:
    """Return the signals that are recorded for `capture`; the gate always is.

    Raises:
        SeProbeError: `capture` contains something unknown.
    """
    for kind in capture:
        if kind not in CAPTURES:
            raise SeProbeError(f"{kind!r} cannot be captured; expected some of {', '.join(CAPTURES)}.")
    return tuple(signal for kind in CAPTURES if kind in {"gate", *capture} for signal in CAPTURES[kind])


class GateRecorder(PassFollower):
    """Record the gates of each forward pass of a network.

    Args:
        network: the network, in evaluation mode. Wrappers that run copies of it or skip hooks (DataParallel,
            torch.compile, scripting) are refused.
        sites: sites or their names; by default all sites of the network. A dry pass finds sites that are given by name
            or not at all.
        capture: signals to read beside the gates: "original" (before an intervention), "logit", "squeeze", "feature"
            (spatial means of the feature map before and after the product).
        input_size: size of the dry pass's input, as for `find_gates`.
        inputs: an example of the network's input for the dry pass, as for `find_gates`.

    Example:
        >>> with GateRecorder(network) as recorder:
        ...     network(batch)
        ...     recorder.gates["SE_2_3"]  # (image, channel), the factor that the network multiplied by

    A gate is copied at the multiplication, on the network's device and in its dtype, without waiting for the device;
    later in-place operations do not change the copy. Under an intervention the gate is the changed one, whichever of
    the two was entered first.

    A pass that does not make the products of the dry pass is refused. Passes may use any entry point that reaches all
    sites, such as `network.forward_features`, in the thread that entered the recorder; passes in other threads are not
    recorded. `run(batch)` ends the pass after the last site.

    Raises:
        SeProbeError: the network is in training mode or wrapped, or a site does not belong to it.
    """

    def __init__(
        self,
        network: nn.Module,
        sites: Iterable[GateSite | str] | None = None,
        capture: Sequence[str] = (),
        *,
        input_size: Sequence[int] | None = None,
        inputs: Any = None,
    ) -> None:
        if "effect" in capture:
            raise SeProbeError("effects need a backward pass, which a GateRecorder does not make; use gate_effects.")
        self._signals = signals_of(capture)
        super().__init__(network, choose_sites(network, sites, input_size=input_size, inputs=inputs))
        self._shapes = {
            (signal, name): shape
            for signal in self._signals
            for name, point in self.points.items()
            if (shape := _shape(point, signal)) is not None
        }
        self._parts: dict[tuple[str, str], dict[int, torch.Tensor]] = defaultdict(dict)
        self._operations: _OperationMode | None = None
        self._published: dict[tuple[str, str], torch.Tensor] | None = None
        self._images: int | None = None
        self._stops = False

    @property
    def shapes(self) -> dict[tuple[str, str], tuple[int, ...]]:
        """(signal, site name) → canonical shape without the image axis, in the order of `signals`."""
        return dict(self._shapes)

    @property
    def gates(self) -> dict[str, torch.Tensor]:
        """Site name → gates of the last batch, `(image, channel)` or `(image, branch, channel)`.

        Raises:
            SeProbeError: no forward pass has been completed since the recorder was entered, or the last one failed.
        """
        return {site: values for (signal, site), values in self.signals.items() if signal == "gate"}

    @property
    def signals(self) -> dict[tuple[str, str], torch.Tensor]:
        """(signal, site name) → values of the last batch; signals that a site does not have are left out.

        Raises:
            SeProbeError: as for `gates`.
        """
        if self._published is None:
            reached = f" (it did not reach {', '.join(self.missed)})" if self.missed else ""
            raise SeProbeError(
                "the recorder holds no gates: no forward pass of the network has completed since it was entered, "
                f"or the last one failed{reached}; run network(batch) inside the with block."
            )
        return self._published

    def run(self, batch: torch.Tensor) -> dict[tuple[str, str], torch.Tensor]:
        """Run the entered network up to the last site and return the `signals`.

        If more than the gates is captured, the pass runs to its end.

        Args:
            batch: `(image, …)`, the network's input.

        Raises:
            SeProbeError: as for `gates`.
        """
        self._stops = self._signals == ("gate",)
        try:
            self.network(batch)
        except _LastSite:
            self._end()
        finally:
            self._stops = False
        return self.signals

    def _begin_pass(self, batch: Any) -> None:
        """Discard the last pass, and watch operations if their values are captured."""
        self._published = None
        self._parts.clear()
        self._images = len(batch) if isinstance(batch, torch.Tensor) and batch.dim() else None
        if not {"logit", "squeeze"}.isdisjoint(self._signals):
            if self.elsewhere:
                raise SeProbeError(
                    "logits and squeezes are read from whole passes, and a part of the network was called; call "
                    "network(...) itself, or record without them."
                )
            self._operations = _OperationMode(self.points, self._signals)
            push_mode(self, self._operations)

    def _leave_pass(self) -> None:
        pop_mode(self)

    def _before(self, item: SiteProduct, original: tuple[Any, ...], args: tuple[Any, ...]) -> None:
        product, shape = item.product, item.point.product_shape
        if args[product.operand].shape != original[product.operand].shape:
            raise SeProbeError(
                f"the intervention makes the gates of {item.site} vary over the map, but a recording has one number "
                "per channel; record outside of that intervention."
            )
        self._keep("gate", item, product.read(args, shape).clone())
        if "original" in self._signals:
            self._keep("original", item, product.read(original, shape).clone())
        if ("feature_before", item.site) in self._shapes:
            self._keep("feature_before", item, _spatial_mean(item, args[product.feature_operand]))

    def _after(self, item: SiteProduct, output: torch.Tensor) -> None:
        if ("feature_after", item.site) in self._shapes:
            self._keep("feature_after", item, _spatial_mean(item, output))

    def _keep(self, signal: str, item: SiteProduct, values: torch.Tensor) -> None:
        self._parts[signal, item.site][item.part] = values

    def _leave_call(self) -> None:
        super()._leave_call()
        if self._stops and self.complete and others_complete(self.network):
            raise _LastSite

    def _end_pass(self) -> None:
        """Publish the batch if it is complete."""
        caught = {key: joined(parts) for key, parts in self._parts.items()}
        if self._operations is not None:
            caught |= self._operations.caught()
            self._operations = None
        missing = [" of ".join(key) for key in self._shapes if key not in caught]
        images = {len(values) for values in caught.values()} | {self._images or len(next(iter(caught.values())))}
        if missing or len(images) > 1:
            raise another_way(f"not reached {missing}, images {sorted(images)}")
        self._published = {key: caught[key] for key in self._shapes}


class _LastSite(Exception):  # noqa: N818 it is not an error
    """Ends a forward pass after its last site."""


def _shape(point: HookPoint, signal: str) -> tuple[int, ...] | None:
    """Return a signal's canonical shape without the image axis, None if the site has no such signal.

    Logits need one bounding operation, a squeeze needs one unit per channel; the squeeze has no branches. Feature maps
    are read at elementwise products only: matrix products (einsum, matmul) sum over the branches.
    """
    if signal in CAPTURES["feature"] and any(product.view is not None for product in point.products):
        return None
    if signal == "squeeze":
        return point.shape[-1:] if point.squeeze else None
    return None if signal == "logit" and point.logit is None else point.shape


class _OperationMode(WatchMode):
    """Reads the logits and squeezes of all sites at the operations of one forward pass of the network."""

    def __init__(self, points: Mapping[str, HookPoint], signals: Sequence[str]) -> None:
        super().__init__()
        self._caught: dict[tuple[str, str], torch.Tensor] = {}
        # (signal, operation) → the sites that have it.
        self._wanted: dict[tuple[str, Operation], list[tuple[str, HookPoint]]] = defaultdict(list)
        self._expected: dict[str, int] = {}
        for name, point in points.items():
            for signal, operation in (("logit", point.logit), ("squeeze", point.squeeze)):
                if signal in signals and operation is not None:
                    self._wanted[signal, operation].append((name, point))
                    self._expected[operation.name] = dict(point.operations)[operation.name]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if is_reading():
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation; read its input before it may overwrite it, and its output."""
        operation = self._operation
        with reading():
            for name, point in self._wanted.get(("logit", operation), ()):
                self._caught["logit", name] = args[0].detach().reshape(-1, *point.shape).clone()
        output = func(*args, **kwargs)
        with reading():
            for name, point in self._wanted.get(("squeeze", operation), ()):
                self._caught["squeeze", name] = output.detach().reshape(-1, point.shape[-1]).clone()
        return output

    def caught(self) -> dict[tuple[str, str], torch.Tensor]:
        """Return (signal, site) → values; raise SeProbeError if the pass made other operations than the dry pass."""
        for name, expected in self._expected.items():
            if self.counts[name] != expected:
                raise another_way(f"it made {self.counts[name]} {name} operations, not {expected}")
        return self._caught


def _spatial_mean(item: SiteProduct, values: torch.Tensor) -> torch.Tensor:
    """Return the spatial mean of a product's feature map or output in the gate's layout, in float32 at least."""
    product = item.product
    free = [axis for axis in range(values.dim()) if axis != product.image_axis and axis not in product.axes]
    mean = values.detach().mean(free, keepdim=True, dtype=torch.promote_types(values.dtype, torch.float32))
    return canonical(mean, product.axes, item.point.product_shape, product.image_axis)
