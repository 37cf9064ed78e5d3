"""Run times of two networks, interleaved in pairs that alternate which network goes first."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from se_probe.costs.timing import median_ratio, seconds_of

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
        low, high: distribution-free 95 % interval of that median.
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
    """Time two networks on a batch, for at least ten pairs; after `seconds` no further pair begins.

    Args:
        before, after: the networks, in evaluation mode and on the batch's device.
        batch: `(image, 3, H, W)`.
        pairs: number of pairs.
        seconds: time limit.
    """
    times: list[tuple[float, float]] = []
    with torch.inference_mode():
        for _ in range(WARM_UP):
            seconds_of(before, batch)
            seconds_of(after, batch)
        began = time.perf_counter()
        while len(times) < pairs and (len(times) < 10 or time.perf_counter() - began < seconds):
            pair = (before, after) if len(times) % 2 else (after, before)
            measured = [seconds_of(network, batch) for network in pair]
            times.append((measured[0], measured[1]) if pair[0] is before else (measured[1], measured[0]))
    first, second = np.array(times).T
    medians = 1000 * float(np.median(first)), 1000 * float(np.median(second))
    return Timing(
        len(batch), str(batch.device), torch.get_num_threads(), len(times), *medians, *median_ratio(first, second)
    )
