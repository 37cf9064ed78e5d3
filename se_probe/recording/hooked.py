"""A network with a recorder on it, and how batches get to its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from se_probe.gates import GateRecorder, GateSite
from se_probe.recording.out_of_memory import OutOfMemoryRetry

Signals = dict[tuple[str, str], torch.Tensor]
_AT_ONCE = 8
# Takes images and gives the network's output, None where it was not asked for, and the signals of all sites.
Run = Callable[[torch.Tensor], tuple[object, Signals]]


class HookedNetwork:
    """A network that gives the signals of its sites with its output; hooks are on it inside `hooks()`.

    Args:
        network: the network, on its device.
        sites: those of its sites to record.
        capture: what to record beside the gates.
        predictions: whether its output is wanted; else a pass ends after the last site.
        channels_last: whether the input is laid out in memory with channels last.
    """

    def __init__(
        self,
        network: nn.Module,
        sites: Sequence[GateSite],
        capture: Sequence[str] = (),
        *,
        predictions: bool = True,
        channels_last: bool = False,
    ) -> None:
        self._network = network
        self._recorder = GateRecorder(network, sites, capture)
        self._predictions = predictions
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        reference = next(network.parameters(), torch.empty(0))
        self._device = reference.device
        self._dtype = reference.dtype if reference.is_floating_point() else torch.float32

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Put hooks on the network, and take them off again."""
        with self._recorder:
            yield

    def place(self, images: torch.Tensor) -> torch.Tensor:
        """Return images on the network's device, in its dtype and layout, without waiting for the device."""
        # Across first: a copy that also converts would do so on the host and wait.
        there = images.to(self._device, non_blocking=True)
        return there.to(self._dtype, memory_format=self._layout)

    def run(self, images: torch.Tensor) -> tuple[object, Signals]:
        """Return the network's output and its signals for images that are in place."""
        if not self._predictions:
            return None, self._recorder.run(images)
        output = self._network(images)
        return output, self._recorder.signals

    def __call__(self, images: torch.Tensor) -> tuple[object, Signals]:
        """Put images in place and run them."""
        return self.run(self.place(images))


def signals_for(hooked: HookedNetwork, images: torch.Tensor) -> Signals:
    """Return the signals of a network for some images, on its device."""
    with hooked.hooks():
        return run_in_batches(hooked, images, _AT_ONCE)


def run_in_batches(run: Run, images: torch.Tensor, size: int) -> Signals:
    """Return the signals for images that may be more than one batch, fewer at a time where memory is short."""
    forward = OutOfMemoryRetry(lambda batch, _units: run(batch)[1], say=lambda line: None)
    with torch.inference_mode():
        parts = [part for batch in images.split(size) for part in forward(batch, [])]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
