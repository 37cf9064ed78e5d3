"""Timing: what it says of a network whose gate costs nearly all, its interval, and what it refuses."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from se_probe.costs import GateTimer
from se_probe.costs.timing import paired_share
from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from se_probe.trace.example import noise_for
from tests.costs import networks as hidden
from tests.costs.test_network_cost import SIZE, build
from tests.gates import networks


class Costly(networks.Functional):
    """Computes its gate by far more work than all the rest of the network."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__(channels)
        self.deep = nn.Sequential(*[nn.Linear(channels, 1500), nn.Linear(1500, 1500), nn.Linear(1500, channels)])

    def squeeze(self, x):
        return self.deep(x.mean((2, 3)))


def test_every_group_is_timed_with_and_without_its_products():
    network = build(Costly)
    sites = find_gates(network, SIZE)
    steps = []
    timer = GateTimer(network, sites, SIZE, {"stage 1": sites}, batch_size=64, rounds=15)
    run_time = timer.measure(steps.append)
    assert steps == [1] * 15
    assert (run_time.rounds, run_time.batch_size, run_time.device) == (15, 64, "cpu")
    assert run_time.threads == torch.get_num_threads()
    keys = [(share.sites, share.replaced) for share in run_time.shares]
    assert keys == [(name, what) for name in ("all", "stage 1") for what in ("gate", "gate and product")]
    assert all(share.low <= share.share <= share.high for share in run_time.shares)
    assert timer.seconds > 0
    assert run_time.to_dict()["shares"][0]["sites"] == "all"


def test_the_network_is_left_as_it_was():
    network = build(networks.Functional).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    GateTimer(network, find_gates(network, SIZE), SIZE, rounds=15).measure()
    assert network.training
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())


def test_shares_are_paired_by_round():
    rng = np.random.default_rng(0)
    drift = rng.uniform(1, 5, 15)
    share, low, high = paired_share(drift, 0.75 * drift)
    np.testing.assert_allclose([share, low, high], 0.25)
    # The fourth smallest and the fourth largest of fifteen: P(Binomial(15, 1/2) < 4) = 0.018.
    ratios = np.linspace(0.1, 0.9, 15)
    share, low, high = paired_share(np.ones(15), rng.permutation(ratios))
    np.testing.assert_allclose([share, low, high], [0.5, 1 - ratios[11], 1 - ratios[3]])


@pytest.mark.parametrize("rounds", [15, 25])
def test_intervals_cover_the_median(rounds):
    rng = np.random.default_rng(1)
    trials = 600
    covered = 0
    for _ in range(trials):
        whole = rng.lognormal(0, 0.2, rounds)
        _, low, high = paired_share(whole, 0.9 * whole * rng.lognormal(0, 0.1, rounds))
        covered += low <= 0.1 <= high
    assert covered / trials > 0.935


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
    with pytest.raises(SeProbeError, match=r"^14 rounds of timing were asked for; expected at least 15\.$"):
        GateTimer(build(networks.Functional), [], SIZE, rounds=14)
