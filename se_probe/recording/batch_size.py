"""The batch size at which a network takes least time for an image, found by a short measurement."""

from __future__ import annotations

import time

import torch

from se_probe.recording.hooked import Run

SIZES = (4, 8, 16, 32, 64, 128, 256)
# The search ends when this many seconds are gone, on whatever machine.
BUDGET = 10.0
# A larger batch must be this much faster to be worth its memory.
WORTHWHILE = 1.03


def fastest_batch_size(run: Run, input_size: tuple[int, ...]) -> tuple[int, dict[int, float]]:
    """Return the batch size with the most images a second, and the images a second of each size that was tried.

    Sizes grow until two in a row gain less than 3 %, the device's memory is full, or the time is up.

    Args:
        run: what runs a batch.
        input_size: `(channels, height, width)`.
    """
    rates: dict[int, float] = {}
    best = SIZES[0]
    until = time.perf_counter() + BUDGET
    for size in SIZES:
        try:
            rates[size] = size / seconds(run, torch.randn(size, *input_size))
        except (RuntimeError, MemoryError):
            if not rates:
                raise
            break
        if rates[size] >= rates[best] * WORTHWHILE:
            best = size
        if best < size // 2 or time.perf_counter() > until:
            break
    return best, rates


def seconds(run: Run, images: torch.Tensor, *, warm: bool = False) -> float:
    """Return how long a batch takes, the second time; the first time if such a batch has been run, `warm`."""
    with torch.inference_mode():
        if not warm:
            _wait(run(images)[1])
        start = time.perf_counter()
        _wait(run(images)[1])
        return time.perf_counter() - start


def _wait(signals: dict[tuple[str, str], torch.Tensor]) -> None:
    """Wait for the device, which works behind the program's back."""
    for values in signals.values():
        values[:1].cpu()
