"""Paired timing, by a clock that only the networks move."""

import pytest
import torch
from torch import nn

from se_probe.costs import timing as clocked
from se_probe.folding.timing import paired_timing


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Takes(nn.Module):
    """A network that takes `seconds` by the clock, and counts its passes."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds, self.passes = clock, seconds, 0

    def forward(self, x):
        self.clock.now += self.seconds * (1 + 0.1 * (self.passes % 2))
        self.passes += 1
        return x


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(clocked, "time", clock)
    return clock


def test_ratio_of_known_times(clock):
    timing = paired_timing(Takes(clock, 0.02), Takes(clock, 0.01), torch.zeros(2, 3), pairs=12)
    assert (timing.pairs, timing.batch, timing.device) == (12, 2, "cpu")
    assert timing.ratio == pytest.approx(0.5)
    assert (timing.before, timing.after) == (pytest.approx(21.0), pytest.approx(10.5))
    assert timing.low <= timing.ratio <= timing.high


def test_ten_pairs_at_the_least_where_time_is_up(clock):
    network = Takes(clock, 100)
    assert paired_timing(network, Takes(clock, 100), torch.zeros(1), seconds=0).pairs == 10
    assert network.passes == 13
