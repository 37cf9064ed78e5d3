"""How fast two networks are, measured in pairs: each pair runs both, one right after the other, in turns first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import nn

from se_probe.analysis.stats.intervals import CONFIDENCE

WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """Times of one forward pass of the same batch.

    Attributes:
        batch: images in it.
        device: where it ran.
        threads: CPU threads that torch uses.
        pairs: how many pairs were measured.
        before, after: median times in milliseconds.
        ratio: median over pairs of after / before; below 1 the second network is faster.
        low, high: distribution-free interval of that median, 95 % at the least.
    """

    batch: int
    device: str
    threads: int
    pairs: int
    before: float
    after: float
    ratio: float
    low: float
    high: float


def paired_timing(
    before: nn.Module, after: nn.Module, batch: torch.Tensor, *, pairs: int = 40, seconds: float = 30
) -> Timing:
    """Time two networks on a batch; after `seconds` no further pair is begun, but ten are measured at the least."""
    times: list[tuple[float, float]] = []
    with torch.inference_mode():
        for _ in range(WARM_UP):
            _time(before, batch), _time(after, batch)
        began = time.perf_counter()
        while len(times) < pairs and (len(times) < 10 or time.perf_counter() - began < seconds):
            if len(times) % 2:
                second = _time(after, batch)
                times.append((_time(before, batch), second))
            else:
                times.append((_time(before, batch), _time(after, batch)))
    first, second_ = np.array(times).T
    ratio, low, high = median_interval(second_ / first)
    medians = 1000 * float(np.median(first)), 1000 * float(np.median(second_))
    return Timing(
        len(batch), str(batch.device), torch.get_num_threads(), len(times), *medians, ratio=ratio, low=low, high=high
    )


def median_interval(
    values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]],
) -> tuple[float, float, float]:
    """Return the median of independent values with the interval between two of the values, whatever their distribution.

    Source: David and Nagaraja, Order Statistics (2003), section 7.1.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    outside = int(stats.binom.ppf((1 - CONFIDENCE) / 2, len(ordered), 0.5)) - 1
    place = max(outside, 0)
    return float(np.median(ordered)), float(ordered[place]), float(ordered[-1 - place])


def _time(network: nn.Module, batch: torch.Tensor) -> float:
    _wait(batch.device)
    began = time.perf_counter()
    network(batch)
    _wait(batch.device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
