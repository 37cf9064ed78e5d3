"""Paired timing, on networks that take a known time."""

import time
from itertools import product

import numpy as np
import torch
from torch import nn

from se_probe.folding.timing import median_interval, paired_timing


class Takes(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return x


def test_ratio_of_known_times():
    timing = paired_timing(Takes(0.02), Takes(0.01), torch.zeros(2, 3), pairs=12)
    assert (timing.pairs, timing.batch, timing.device) == (12, 2, "cpu")
    assert timing.low <= timing.ratio <= timing.high
    assert 0.3 < timing.ratio < 0.9
    assert timing.after < timing.before


def test_ten_pairs_at_the_least_where_time_is_up():
    assert paired_timing(Takes(0.001), Takes(0.001), torch.zeros(1), seconds=0).pairs == 10


def test_interval_of_a_median_covers_as_often_as_signs_say():
    values = np.arange(10.0)
    median, low, high = median_interval(values)
    assert median == 4.5
    # Every pattern of ten signs is equally likely: how often does the median lie between those two values?
    below = np.array([sum(signs) for signs in product((0, 1), repeat=10)])
    covered = np.mean((below > low) & (below <= high))
    narrower = np.mean((below > low + 1) & (below <= high - 1))
    assert narrower < 0.95 <= covered
