"""Timing, by a clock that only networks move: shares of known times, intervals, pairs, and what is refused."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from se_probe.costs import GateTimer
from se_probe.costs import timing as clocked
from se_probe.costs.timing import interleaved, median_and_limits, paired_timing
from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from se_probe.trace.dry_pass import noise_for
from tests.costs import networks as hidden
from tests.costs.test_network_cost import SIZE, build
from tests.gates import networks


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Takes(nn.Module):
    """A network that takes `seconds` by the clock, a tenth more in every second pass, and notes its passes."""

    def __init__(self, clock, seconds, passes):
        super().__init__()
        self.clock, self.seconds, self.passes = clock, seconds, passes

    def forward(self, x):
        self.clock.now += self.seconds * (1 + 0.1 * (self.passes.count(self.seconds) % 2))
        self.passes.append(self.seconds)
        return x


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(clocked, "time", clock)
    return clock


# Seconds of an operation of the network below; the others take none. The pooling is a mean over the gate's input.
SECONDS = {"convolution": 6.0, "mean": 1.0, "addmm": 0.5, "sigmoid": 1.0, "mul": 1.0}
GATE = SECONDS["mean"] + 2 * SECONDS["addmm"] + SECONDS["sigmoid"]


@pytest.fixture
def slow(clock, monkeypatch):
    """Let operations that are called one by one, as replays do, take their `SECONDS`."""
    original = torch._ops.OpOverload.__call__

    def call(self, /, *args, **kwargs):
        clock.now += SECONDS.get(self.overloadpacket.__name__, 0.0)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch._ops.OpOverload, "__call__", call)


def test_a_share_is_the_time_that_a_replay_without_saves(slow):
    network = build(networks.SharedActivation)
    sites = find_gates(network, SIZE)
    assert len(sites) == 2
    steps = []
    timer = GateTimer(network, sites, SIZE, {"first": sites[:1]}, batch_size=4, rounds=15)
    run_time = timer.measure(steps.append)
    assert steps == [1] * 15
    assert (run_time.rounds, run_time.batch_size, run_time.device) == (15, 4, "cpu")
    assert run_time.threads == torch.get_num_threads()
    whole = SECONDS["convolution"] + SECONDS["mean"] + 2 * (GATE + SECONDS["mul"])
    assert run_time.replay_milliseconds == pytest.approx(1000 * whole)
    saved = {
        ("all", "gate"): 2 * GATE,
        ("all", "gate and product"): 2 * (GATE + SECONDS["mul"]),
        ("first", "gate"): GATE,
        ("first", "gate and product"): GATE + SECONDS["mul"],
    }
    assert [(share.sites, share.replaced) for share in run_time.shares] == list(saved)
    for share, seconds in zip(run_time.shares, saved.values(), strict=True):
        assert share.milliseconds == pytest.approx(1000 * (whole - seconds))
        assert share.share == pytest.approx(seconds / whole)
        assert share.low == pytest.approx(share.high) == pytest.approx(share.share)
    assert timer.seconds == pytest.approx(15 * (5 * whole - sum(saved.values())))
    assert run_time.to_dict()["shares"][0]["sites"] == "all"


def test_shares_are_paired_by_round(monkeypatch):
    network = build(networks.Functional)
    timer = GateTimer(network, find_gates(network, SIZE), SIZE, rounds=15)
    pace = np.random.default_rng(0).uniform(1, 5, 15)
    ratios = np.random.default_rng(1).permutation(np.linspace(0.1, 0.9, 15))
    times = np.stack([pace, pace, ratios * pace, 0.75 * pace], axis=1)
    monkeypatch.setattr(clocked, "interleaved", lambda *_, **__: times)
    first, second = timer.measure().shares
    # The fourth smallest and the fourth largest of fifteen: P(Binomial(15, 1/2) < 4) = 0.018.
    ratios.sort()
    np.testing.assert_allclose([first.share, first.low, first.high], [0.5, 1 - ratios[11], 1 - ratios[3]])
    np.testing.assert_allclose([second.share, second.low, second.high], 0.25)


def test_the_network_is_left_as_it_was():
    network = build(networks.Functional).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    run_time = GateTimer(network, find_gates(network, SIZE), SIZE, rounds=15).measure()
    assert network.training
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())
    assert all(share.low <= share.share <= share.high < 1 for share in run_time.shares)
    assert run_time.network_milliseconds > 0


def test_a_network_that_goes_by_values_is_refused():
    network = build(hidden.DependsOnValues)
    with torch.no_grad():
        first = [float(network.conv(noise_for(network, SIZE, 1, seed=seed)).flatten()[0]) for seed in (0, 1)]
    network.gate_block.threshold = sum(first) / 2
    message = (
        "a pass of Stem cannot be replayed: its operations, called again, give another output (its way may depend on "
        "the values of the input); leave out timing (--no-time)."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        GateTimer(network, find_gates(network, SIZE), SIZE, rounds=15)


def test_too_few_rounds():
    with pytest.raises(SeProbeError, match=r"^14 rounds of timing were requested; expected at least 15\.$"):
        GateTimer(build(networks.Functional), [], SIZE, rounds=14)


def test_limits_are_order_statistics():
    # The fourth smallest and the fourth largest of fifteen: P(Binomial(15, 1/2) < 4) = 0.018.
    values = np.linspace(0.1, 0.9, 15)
    found = median_and_limits(np.random.default_rng(0).permutation(values))
    np.testing.assert_allclose(found, [0.5, values[3], values[11]])


@pytest.mark.parametrize("rounds", [15, 25])
def test_intervals_cover_the_median(rounds):
    rng = np.random.default_rng(1)
    limits = [median_and_limits(0.1 * rng.lognormal(0, 0.3, rounds))[1:] for _ in range(600)]
    assert np.mean([low <= 0.1 <= high for low, high in limits]) > 0.935


def test_runs_take_turns(clock):
    passes = []
    runs = [Takes(clock, seconds, passes) for seconds in (1.0, 2.0, 3.0)]
    times = interleaved(runs, torch.zeros(1), 3)
    assert passes == [3.0, 2.0, 1.0, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0]
    np.testing.assert_allclose(times, np.outer([1, 1.1, 1], [1, 2, 3]))


def test_ratio_of_known_times(clock):
    timing = paired_timing(Takes(clock, 0.02, []), Takes(clock, 0.01, []), torch.zeros(2, 3), pairs=12)
    assert (timing.pairs, timing.batch, timing.device) == (12, 2, "cpu")
    assert timing.ratio == pytest.approx(0.5)
    assert (timing.before, timing.after) == (pytest.approx(21.0), pytest.approx(10.5))
    assert timing.low <= timing.ratio <= timing.high


def test_ten_pairs_at_the_least_where_time_is_up(clock):
    network = Takes(clock, 100, [])
    assert paired_timing(network, Takes(clock, 100, []), torch.zeros(1), seconds=0).pairs == 10
    assert len(network.passes) == 13
