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


@pytest.fixture
def slow(clock, monkeypatch):
    """Let operations take their `SECONDS`."""
    original = torch._ops.OpOverload.__call__

    def call(self, /, *args, **kwargs):
        clock.now += SECONDS.get(self.overloadpacket.__name__, 0.0)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch._ops.OpOverload, "__call__", call)


def test_a_gate_takes_the_time_of_its_operations(slow):
    network = build(networks.SharedActivation)
    sites = find_gates(network, SIZE)
    assert len(sites) == 2
    steps = []
    timer = GateTimer(network, sites, SIZE, {"first": sites[:1]}, batch_size=4, rounds=15)
    run_time = timer.measure(steps.append)
    assert steps == [1] * 15
    assert (run_time.rounds, run_time.batch_size, run_time.device) == (15, 4, "cpu")
    assert run_time.threads == torch.get_num_threads()
    found = {(share.sites, share.part): share for share in run_time.shares}
    whole = run_time.operations_milliseconds / 1000
    gate = SECONDS["mean"] + 2 * SECONDS["addmm"] + SECONDS["sigmoid"]
    expected = {
        ("all", "gate"): 2 * gate,
        ("all", "gate and product"): 2 * (gate + SECONDS["mul"]),
        ("first", "gate"): gate,
        ("first", "gate and product"): gate + SECONDS["mul"],
    }
    assert whole >= SECONDS["convolution"] + expected["all", "gate and product"]
    for key, seconds in expected.items():
        share = found[key]
        assert share.milliseconds == pytest.approx(1000 * seconds)
        assert share.share == pytest.approx(seconds / whole)
        assert share.low == pytest.approx(share.high) == pytest.approx(share.share)
    assert timer.seconds == pytest.approx(15 * whole)
    assert run_time.to_dict()["shares"][0]["sites"] == "all"


def test_the_network_is_left_as_it_was():
    network = build(networks.Functional).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    run_time = GateTimer(network, find_gates(network, SIZE), SIZE, rounds=15).measure()
    assert network.training
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())
    assert all(0 < share.low <= share.share <= share.high < 1 for share in run_time.shares)
    assert run_time.network_milliseconds > 0


class Wandering(networks.Functional):
    """Takes another nonlinearity for its gate after a number of passes."""

    passes = 0

    def factor(self, x):
        self.passes += 1
        gate = self.squeeze(x)[:, :, None, None]
        return torch.sigmoid(gate) if self.passes < 30 else torch.tanh(gate) + 1


def test_a_network_that_goes_another_way_is_refused():
    network = build(Wandering)
    sites = find_gates(network, SIZE)
    network.gate_block.passes = 20
    message = (
        "a timed pass of Stem made other operations than the pass in which its gates were looked for, so that their "
        "share is not known; leave out timing (--no-time)."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        GateTimer(network, sites, SIZE, rounds=15).measure()


def test_too_few_rounds():
    with pytest.raises(SeProbeError, match=r"^14 rounds of timing were asked for; expected at least 15\.$"):
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
