"""Forward passes with a recorder on the network: batches to the device, signals and predictions back to the host."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from se_probe.gates import GateRecorder, GateSite
from se_probe.recording.header import join
from se_probe.recording.memory import OutOfMemoryRetry

Signals = dict[tuple[str, str], torch.Tensor]
_AT_ONCE = 8
# Maps images to the network's output (None where it was not asked for) and the signals of all sites.
ForwardPass = Callable[[torch.Tensor], tuple[object, Signals]]


class HookedNetwork:
    """A network that returns the signals of its sites beside its output; hooks are on it inside `hooks()`.

    Args:
        network: the network, on its device.
        sites: those of its sites to record.
        capture: what to record beside the gates.
        predictions: whether its output is needed; otherwise a pass ends after the last site.
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
        self.network = network
        self.channels_last = channels_last
        self._sites, self._capture, self._predictions = sites, capture, predictions
        self._recorder = GateRecorder(network, sites, capture)
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        reference = next(network.parameters(), torch.empty(0))
        self.device = reference.device
        self._dtype = reference.dtype if reference.is_floating_point() else torch.float32

    def with_copy(self, copy: nn.Module, *, channels_last: bool) -> HookedNetwork:
        """Record another network in the same way: a copy with the same sites, signals and predictions."""
        return HookedNetwork(
            copy, self._sites, self._capture, predictions=self._predictions, channels_last=channels_last
        )

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Put hooks on the network, and take them off again."""
        with self._recorder:
            yield

    def place(self, images: torch.Tensor) -> torch.Tensor:
        """Return images on the network's device, in its dtype and layout, without waiting for the device."""
        # Move first: a copy that also converts would convert on the host and wait.
        there = images.to(self.device, non_blocking=True)
        return there.to(self._dtype, memory_format=self._layout)

    def run(self, images: torch.Tensor) -> tuple[object, Signals]:
        """Return the network's output and its signals for images that are in place."""
        if not self._predictions:
            return None, self._recorder.run(images)
        output = self.network(images)
        return output, self._recorder.signals

    def __call__(self, images: torch.Tensor) -> tuple[object, Signals]:
        """Put images in place and run them."""
        return self.run(self.place(images))


def signals_for(hooked: HookedNetwork, images: torch.Tensor) -> Signals:
    """Return the signals of a network for some images, on its device."""
    with hooked.hooks():
        return run_in_batches(hooked, images, _AT_ONCE)


def run_in_batches(run: ForwardPass, images: torch.Tensor, size: int) -> Signals:
    """Return the signals for images, `size` at a time or fewer where memory is short."""
    forward = OutOfMemoryRetry(lambda batch, _units: run(batch)[1], say=lambda line: None)
    with torch.inference_mode():
        parts = [part for batch in images.split(size) for part in forward(batch, [])]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


class Results(NamedTuple):
    """Results of a batch, on the host.

    Attributes:
        columns: `(image, column)`, all signals of all sites side by side.
        predicted: output unit with the highest probability, -1 where the output is not a vector of logits.
        probability: softmax probability of that unit, NaN where there is none.
        class_probability: probability of the image's own class, NaN where the network has no unit for it.
        energy: −log Σ exp of the logits, NaN where there are none (Liu et al., Energy-based Out-of-distribution
            Detection, NeurIPS 2020, equation 4 at temperature 1).
    """

    columns: NDArray[np.floating]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    class_probability: NDArray[np.float64]
    energy: NDArray[np.float64]


def join_results(passes: Sequence[Results], columns: int) -> Results:
    """Return the results of several forward passes as those of one batch; `columns` is the width of a row."""
    nothing = Results(np.empty((0, columns), np.float32), np.empty(0, np.int64), *(np.empty(0) for _ in range(3)))
    return Results(*map(np.concatenate, zip(nothing, *passes, strict=True)))


class Transfer:
    """An asynchronous copy of results from the device; `results` waits for it."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        on_cuda = tensors[0].is_cuda
        self._tensors = [tensor.to("cpu", non_blocking=on_cuda) for tensor in tensors]
        self._arrived = torch.cuda.Event() if on_cuda else None
        if self._arrived is not None:
            self._arrived.record()

    def results(self) -> Results:
        """Wait for the device and return the results."""
        if self._arrived is not None:
            self._arrived.synchronize()
        columns, predicted, *numbers = (tensor.numpy() for tensor in self._tensors)
        return Results(columns, predicted, *(values.astype(np.float64) for values in numbers))


def start(run: ForwardPass, images: torch.Tensor, units: Sequence[int]) -> Transfer:
    """Start a forward pass of images on the host, whose classes have these units (-1 for none), and its transfer."""
    with torch.inference_mode():
        output, signals = run(images)
        columns = join(signals.values())
        own = torch.tensor(units).to(columns.device, non_blocking=True)
        return Transfer([columns, *choices(output, own)])


def choices(output: object, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the predicted unit, its probability, that of each image's own unit, and the energy, as in `Results`."""
    missing = torch.full(own.shape, torch.nan, device=own.device)
    if not (isinstance(output, torch.Tensor) and output.shape[:1] == own.shape and output.dim() == 2):
        return torch.full_like(own, -1), missing, missing, missing
    logits = output if output.dtype == torch.float64 else output.float()
    probabilities = logits.softmax(1)
    probability, predicted = probabilities.max(1)
    known = (own >= 0) & (own < output.shape[1])
    of_class = probabilities.gather(1, torch.where(known, own, 0)[:, None])[:, 0]
    return predicted, probability, torch.where(known, of_class, missing), -logits.logsumexp(1)


def seconds(
    run: ForwardPass, images: torch.Tensor, *, warm: bool = False, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the seconds that a batch takes, after a pass to warm up unless one was made (`warm`)."""
    with torch.inference_mode():
        if not warm:
            _wait(run(images)[1])
        start = clock()
        _wait(run(images)[1])
        return clock() - start


def _wait(signals: Signals) -> None:
    for values in signals.values():
        values[:1].cpu()


def filled(images: torch.Tensor, count: int) -> torch.Tensor:
    """Return a batch with its last image repeated until there are `count`."""
    missing = count - len(images)
    return images if missing <= 0 else torch.cat([images, images[-1:].expand(missing, *images.shape[1:])])
