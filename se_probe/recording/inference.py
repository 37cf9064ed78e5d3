"""One batch through the network and its results to the host, without waiting for the device in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.recording.columns import join
from se_probe.recording.hooked import Run


@dataclass(frozen=True)
class Results:
    """What the network gave for a batch, on the host.

    Attributes:
        columns: `(image, column)`, all signals of all sites side by side.
        predicted: output unit of the network's first choice, -1 where its output is no vector of logits.
        probability: softmax probability of the first choice, NaN where there is none.
        class_probability: probability of the image's own class, NaN where the network has no unit for it.
    """

    columns: NDArray[np.floating]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    class_probability: NDArray[np.float64]


class Transfer:
    """Results on their way from the device; `results` waits for them."""

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
        columns, predicted, probability, class_probability = (tensor.numpy() for tensor in self._tensors)
        return Results(columns, predicted, probability.astype(np.float64), class_probability.astype(np.float64))


def start(run: Run, images: torch.Tensor, units: Sequence[int]) -> Transfer:
    """Start a forward pass and the transfer of its results.

    Args:
        run: what runs a batch (see `se_probe.recording.engine`).
        images: `(n, 3, H, W)` on the host.
        units: output unit of each image's class, -1 where there is none.
    """
    with torch.inference_mode():
        output, signals = run(images)
        columns = join(signals.values())
        own = torch.tensor(units).to(columns.device, non_blocking=True)
        return Transfer([columns, *_choices(output, own)])


def _choices(output: object, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    missing = torch.full(own.shape, torch.nan, device=own.device)
    if not (isinstance(output, torch.Tensor) and output.shape[:1] == own.shape and output.dim() == 2):
        return torch.full_like(own, -1), missing, missing
    probabilities = output.double().softmax(1) if output.dtype == torch.float64 else output.float().softmax(1)
    probability, predicted = probabilities.max(1)
    known = (own >= 0) & (own < output.shape[1])
    of_class = probabilities.gather(1, torch.where(known, own, 0)[:, None])[:, 0]
    return predicted, probability, torch.where(known, of_class, missing)
