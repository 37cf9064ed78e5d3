"""Record the gates of every forward pass: the factors by which the network multiplies, read at the products."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.chosen import choose_sites
from se_probe.gates.hooks import pop_mode, push_mode
from se_probe.gates.passes import PassFollower, SiteProduct, others_complete
from se_probe.gates.refusals import another_way
from se_probe.gates.signals import OperationMode, feature_of, signal_shape, signals_of, spatial_mean
from se_probe.gates.site import GateSite


class GateRecorder(PassFollower):
    """Record the gates of each forward pass of a network.

    Args:
        network: the network, in evaluation mode. Wrappers that run copies of it or leave hooks out
            (DataParallel, torch.compile, scripting) are refused.
        sites: what `find_gates` returned for it, some of them, or their names; by default all sites of the network.
            Sites that are not given, or named, are found by a dry pass.
        capture: what to read beside the gates: "original", "logit", "squeeze", "feature"
            (see `se_probe.gates.signals`).
        input_size: size of the dry pass's input, as for `find_gates`.
        inputs: an example of the network's input for the dry pass, as for `find_gates`.

    Example:
        >>> with GateRecorder(network) as recorder:
        ...     network(batch)
        ...     recorder.gates["SE_2_3"]  # (image, channel), the factor that the network multiplied by

    A gate is copied at the multiplication, on the network's device and in its dtype, without waiting for the device.
    Later in-place operations do not reach it. Under an intervention the gate is the changed one, whichever of the two
    was entered first; "original" captures the gate before it was changed.

    Every pass must make the products of the dry pass; a pass that does not is refused. Passes may be made by any entry
    point that reaches all sites, such as `network.forward_features`, in the thread that entered the recorder; those of
    other threads are not recorded. `run(batch)` ends the pass after the last of the sites.

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
            raise SeProbeError("effects take a backward pass, which a GateRecorder does not make; use gate_effects.")
        self._signals = signals_of(capture)
        super().__init__(network, choose_sites(network, sites, input_size=input_size, inputs=inputs))
        self._shapes = {
            (signal, name): shape
            for signal in self._signals
            for name, point in self.points.items()
            if (shape := signal_shape(point, signal)) is not None
        }
        self._parts: dict[tuple[str, str], dict[int, torch.Tensor]] = defaultdict(dict)
        self._operations: OperationMode | None = None
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
            reached = f" (it did not reach {', '.join(self.missed)})" if self.missed else ""
            raise SeProbeError(
                "the recorder holds no gates: no forward pass of the network has come to its end since it was "
                f"entered, or the last one failed{reached}; run network(batch) inside the with block."
            )
        return self._published

    def run(self, batch: torch.Tensor) -> dict[tuple[str, str], torch.Tensor]:
        """Run the entered network up to the last site, without what comes after it, and return the `signals`.

        Where more than the gates is captured the pass runs to its end.

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

    def begin_pass(self, batch: Any) -> None:
        """Forget the pass before."""
        self._published = None
        self._parts.clear()
        self._images = len(batch) if isinstance(batch, torch.Tensor) and batch.dim() else None
        if not {"logit", "squeeze"}.isdisjoint(self._signals):
            if self.elsewhere:
                raise SeProbeError(
                    "logits and squeezes are read from whole passes, and a part of the network was called; call "
                    "network(...) itself, or record without them."
                )
            self._operations = OperationMode(self.points, self._signals)
            push_mode(self, self._operations)

    def leave_pass(self) -> None:
        """Stop watching the operations of the pass."""
        pop_mode(self)

    def before(self, item: SiteProduct, original: tuple[Any, ...], args: tuple[Any, ...]) -> None:
        """Copy the factor of a product."""
        shape = item.point.product_shape
        if args[item.product.operand].shape != original[item.product.operand].shape:
            raise SeProbeError(
                f"the gates of {item.site} vary over the map while they are replaced, and a recording has one number a "
                "channel; record outside of that intervention."
            )
        self._keep("gate", item, item.product.read(args, shape).clone())
        if "original" in self._signals:
            self._keep("original", item, item.product.read(original, shape).clone())
        if ("feature_before", item.site) in self._shapes:
            self._keep("feature_before", item, spatial_mean(item, feature_of(item.product, args)))

    def after(self, item: SiteProduct, output: torch.Tensor) -> None:
        """Read the feature map that a product makes."""
        if ("feature_after", item.site) in self._shapes:
            self._keep("feature_after", item, spatial_mean(item, output))

    def _keep(self, signal: str, item: SiteProduct, values: torch.Tensor) -> None:
        self._parts[signal, item.site][item.part] = values

    def _leave_call(self) -> None:
        super()._leave_call()
        if self._stops and self.complete and others_complete(self.network):
            raise _LastSite

    def end_pass(self) -> None:
        """Publish the batch, whole or not at all."""
        caught = {key: _joined([parts[i] for i in sorted(parts)]) for key, parts in self._parts.items()}
        if self._operations is not None:
            caught |= self._operations.caught()
            self._operations = None
        missing = [" of ".join(key) for key in self._shapes if key not in caught]
        images = {len(values) for values in caught.values()} | {self._images or len(next(iter(caught.values())))}
        if missing or len(images) > 1:
            raise another_way(f"not reached {missing}, images {sorted(images)}")
        self._published = {key: caught[key] for key in self._shapes}


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(list(parts), dim=1)


class _LastSite(Exception):  # noqa: N818 it is no error
    """Ends a forward pass whose last site was read."""
