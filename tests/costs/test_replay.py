"""Replays against the network itself, and against the same network with its gates replaced by hand."""

import re
from functools import partial

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from se_probe.costs import network_cost
from se_probe.costs.replay import ReplayedPass
from se_probe.errors import SeProbeError
from se_probe.gates import GateRecorder, find_gates
from tests.costs import networks as hidden
from tests.costs.test_network_cost import SIZE, build, without_modules
from tests.gates import networks

WRITTEN = [
    networks.Functional,
    networks.InPlaceProduct,
    networks.OverwrittenGate,
    networks.ChangedAfterModule,
    networks.Einsum,
    networks.ChannelsLast,
    networks.Expanded,
    networks.SharedActivation,
    networks.CalledTwice,
    networks.SelectiveKernelByHand,
    networks.RadixSplitByHand,
    networks.FlatRadix,
    networks.GroupedGate,
    hidden.ChunkedInPlace,
    hidden.BufferedGate,
    hidden.RewrittenBuffer,
    hidden.UsedElsewhere,
    hidden.SharedLayers,
]
ARCHITECTURES = ["legacy_seresnet18", "skresnet18", "resnest14d", "ecaresnet26t", "efficientnet_b0", "convnextv2_atto"]


def noise(size, seed, images=2):
    return torch.randn(images, *size, generator=torch.Generator().manual_seed(seed))


def replayable(network, size):
    batch = noise(size, 0)
    sites = find_gates(network, size)
    return ReplayedPass(network, batch, sites), sites, batch


def lively(architecture):
    """A network whose residual branches count: timm starts them at zero."""
    torch.manual_seed(0)
    network = timm.create_model(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    return network


CASES = [
    *(pytest.param(partial(build, kind), SIZE, id=kind.__name__) for kind in WRITTEN),
    *(pytest.param(partial(lively, name), (3, 64, 64), id=name) for name in ARCHITECTURES),
]


@pytest.mark.parametrize(("make", "size"), CASES)
def test_a_replay_gives_what_the_network_gives(make, size):
    network = make()
    taken, sites, batch = replayable(network, size)
    other = noise(size, 1)
    with torch.no_grad():
        expected, elsewhere = network(batch), network(other)
    (again,) = taken.replay()(batch)
    assert torch.equal(again, expected)
    assert torch.equal(taken.replay()(other)[0], elsewhere)
    # Constant gates are those of the pass's own batch.
    assert torch.equal(taken.replay(sites)(batch)[0], expected)


@pytest.mark.parametrize(("make", "size"), CASES)
def test_what_computes_constant_gates_does_not_run(make, size):
    network = make()
    taken, sites, batch = replayable(network, size)
    cost = network_cost(network, sites, size)
    for products in (True, False):
        with FlopCounterMode(display=False) as counter:
            taken.replay(sites, products=products)(batch)
        assert counter.get_total_flops() == 2 * 2 * cost.multiply_adds_without


def test_constant_gates_are_those_that_the_network_multiplied_by():
    network = lively("legacy_seresnet18")
    taken, sites, batch = replayable(network, (3, 64, 64))
    with GateRecorder(network, sites) as recorder, torch.no_grad():
        network(batch)
        gates = recorder.gates
    by_hand = without_modules(network, {"se_module"})
    for site in sites:
        gate = gates[site.name][:, :, None, None]
        by_hand.get_submodule(site.module).forward = lambda x, gate=gate: x * gate
    other = noise((3, 64, 64), 1)
    with torch.no_grad():
        expected = by_hand(other)
        assert not torch.equal(network(other), expected)
    assert torch.equal(taken.replay(sites)(other)[0], expected)


def test_some_sites_alone():
    network = lively("legacy_seresnet18")
    taken, sites, batch = replayable(network, (3, 64, 64))
    (changed,) = taken.replay(sites[-2:], products=False)(batch)
    for site in sites[-2:]:
        network.set_submodule(site.module, nn.Identity())
    with torch.no_grad():
        assert torch.equal(changed, network(batch))


def test_without_products_gates_are_one():
    network = lively("legacy_seresnet18")
    taken, sites, _ = replayable(network, (3, 64, 64))
    other = noise((3, 64, 64), 1)
    with torch.no_grad():
        expected = without_modules(network, {"se_module"})(other)
    assert torch.equal(taken.replay(sites, products=False)(other)[0], expected)
    in_place = build(networks.InPlaceProduct)
    taken, sites, batch = replayable(in_place, SIZE)
    with torch.no_grad():
        assert torch.equal(taken.replay(sites, products=False)(batch)[0], in_place.conv(batch).mean((2, 3)))


def test_memory_of_a_gate_that_the_output_needs():
    taken, sites, _ = replayable(build(hidden.ReusedBuffer), SIZE)
    message = (
        "a pass of Stem cannot be replayed without its gates: its output is written into memory in which a gate was "
        "computed; leave out timing (--no-time)."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        taken.replay(sites)


def test_a_replay_leaves_others_alone():
    network = build(networks.Functional)
    taken, sites, batch = replayable(network, SIZE)
    whole = taken.replay()
    taken.replay(sites, products=False)
    with torch.no_grad():
        assert torch.equal(whole(batch)[0], network(batch))
