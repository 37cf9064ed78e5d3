"""Folding on networks small enough to know what the weights must become."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from se_probe.demo import demo_network
from se_probe.errors import SeProbeError
from se_probe.folding import fold_gates
from se_probe.gates import Constant, find_gates, intervene
from tests.folding.networks import Around, Decides, OverwritesOnTheWay, ReadTwice, norm, ready
from tests.gates import networks

SIZE = (3, 16, 16)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def images(count=3):
    return torch.randn(count, *SIZE, dtype=torch.float64)


def fold_all(network, batch, low=0.1):
    """Fold every site into random constants; return the folded network and the constants by site."""
    sites = find_gates(network, SIZE)
    shapes = [(site.branches, site.channels) if site.branches > 1 else (site.channels,) for site in sites]
    constants = {site: torch.rand(shape, dtype=torch.float64) + low for site, shape in zip(sites, shapes, strict=True)}
    return fold_gates(network, {site: item.numpy() for site, item in constants.items()}, batch), constants


def only(folded, constants):
    (site,), (constant,) = folded.sites, constants.values()
    return site, constant


def outputs(network, batch):
    with torch.no_grad():
        return network(batch)


def test_into_the_batch_norm_before_it():
    network = ready(Around(nn.Sequential(nn.Conv2d(3, 8, 3), norm()), networks.Functional(), nn.Conv2d(8, 4, 1)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = images()
    folded, constants = fold_all(network, batch)
    site, constant = only(folded, constants)
    assert (site.how, site.layers, site.reason) == ("into layers", ("before.1",), "")
    bn, original = folded.network.before[1], network.before[1]
    assert torch.equal(bn.weight, original.weight * constant)
    assert torch.equal(bn.bias, original.bias * constant)
    assert isinstance(folded.network.gate, nn.Identity)
    expected = network.after(original(network.before[0](batch)) * constant[:, None, None]).mean((2, 3))
    torch.testing.assert_close(outputs(folded.network, batch), expected, rtol=0, atol=1e-14)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any("fc" in name for name in folded.network.state_dict())


@pytest.mark.parametrize("inplace", [True, False])
def test_through_a_relu_where_constants_are_not_negative(inplace):
    network = ready(Around(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace)), networks.Functional(), nn.SiLU()))
    batch = images()
    folded, constants = fold_all(network, batch)
    site, constant = only(folded, constants)
    assert (site.how, site.layers) == ("into layers", ("before.0",))
    expected = F.silu(F.relu(network.before[0](batch)) * constant[:, None, None]).mean((2, 3))
    torch.testing.assert_close(outputs(folded.network, batch), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(
        folded.network.before[0].weight, network.before[0].weight * constant[:, None, None, None], rtol=0, atol=0
    )


def test_negative_constants_do_not_pass_a_relu():
    network = ready(Around(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), networks.Functional(), nn.SiLU()))
    batch = images()
    folded, constants = fold_all(network, batch, low=-0.5)
    site, constant = only(folded, constants)
    assert (site.how, site.layers) == ("fixed multiply", ())
    assert site.reason == "before it: negative constants do not pass relu; after it: silu reads the product"
    expected = F.silu(F.relu(network.before[0](batch)) * constant[:, None, None]).mean((2, 3))
    torch.testing.assert_close(outputs(folded.network, batch), expected, rtol=0, atol=1e-14)
    assert torch.equal(folded.network.gate.fixed_gate_0, constant.reshape(1, 8, 1, 1))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_into_the_convolution_after_it_group_by_group(groups):
    before = nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU())
    network = ready(Around(before, networks.Functional(), nn.Conv2d(8, 4, 3, padding=1, groups=groups)))
    batch = images()
    folded, constants = fold_all(network, batch)
    site, constant = only(folded, constants)
    assert (site.how, site.layers) == ("into layers", ("after",))
    per_group = 8 // groups
    for output in range(4):
        inputs = constant[(first := output // (4 // groups) * per_group) : first + per_group]
        expected = network.after.weight[output] * inputs[:, None, None]
        torch.testing.assert_close(folded.network.after.weight[output], expected, rtol=0, atol=0)
    assert torch.equal(folded.network.after.bias, network.after.bias)
    expected = network.after(network.before(batch) * constant[:, None, None]).mean((2, 3))
    torch.testing.assert_close(outputs(folded.network, batch), expected, rtol=0, atol=1e-14)


class TokensBefore(nn.Module):
    """A linear layer over channels that lie last, as before the gate of an NHWC network."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 8)

    def forward(self, x):
        return self.linear(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)


def test_into_a_linear_layer_over_the_last_axis():
    network = ready(Around(TokensBefore(), networks.ChannelsLast(), nn.SiLU()))
    batch = images()
    folded, constants = fold_all(network, batch)
    site, constant = only(folded, constants)
    assert (site.how, site.layers) == ("into layers", ("before.linear",))
    assert torch.equal(folded.network.before.linear.weight, network.before.linear.weight * constant[:, None])
    assert torch.equal(folded.network.before.linear.bias, network.before.linear.bias * constant)
    expected = F.silu(network.before(batch) * constant[:, None, None]).mean((2, 3))
    torch.testing.assert_close(outputs(folded.network, batch), expected, rtol=0, atol=1e-14)


class ThenLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 5)

    def forward(self, x):
        return self.linear(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)


def test_into_the_linear_layer_after_it():
    before = nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU())
    network = ready(Around(before, networks.Functional(), ThenLinear()))
    batch = images()
    folded, constants = fold_all(network, batch)
    site, constant = only(folded, constants)
    assert (site.how, site.layers) == ("into layers", ("after.linear",))
    assert torch.equal(folded.network.after.linear.weight, network.after.linear.weight * constant)
    assert torch.equal(folded.network.after.linear.bias, network.after.linear.bias)
    expected = network.after(network.before(batch) * constant[:, None, None]).mean((2, 3))
    torch.testing.assert_close(outputs(folded.network, batch), expected, rtol=0, atol=1e-14)


def test_a_second_reader_of_the_input_leaves_a_fixed_multiply():
    network = ready(ReadTwice(nn.Sequential(nn.Conv2d(3, 8, 3), norm()), networks.Functional(), nn.Conv2d(8, 4, 1)))
    batch = images()
    folded, constants = fold_all(network, batch)
    site, constant = only(folded, constants)
    assert site.how == "fixed multiply"
    assert site.reason == "before it: add reads what is scaled as well; after it: add reads the product"
    feature = network.before(batch)
    expected = network.after(feature * constant[:, None, None] + feature).mean((2, 3))
    torch.testing.assert_close(outputs(folded.network, batch), expected, rtol=0, atol=1e-14)


def test_a_layer_that_is_used_twice_is_not_scaled():
    shared = nn.Conv2d(8, 8, 1)
    network = Around(nn.Sequential(nn.Conv2d(3, 8, 3), shared, nn.SiLU(), shared), networks.Functional(), nn.SiLU())
    batch = images()
    folded, constants = fold_all(ready(network), batch)
    site, _ = only(folded, constants)
    assert site.how == "fixed multiply"
    assert "before it: the weight of convolution is shared (before.1.weight, before.3.weight)" in site.reason


def test_a_norm_without_weights_is_not_scaled():
    plain = nn.BatchNorm2d(8, affine=False)
    network = ready(Around(nn.Sequential(nn.Conv2d(3, 8, 3), plain), networks.Functional(), nn.SiLU()))
    folded, constants = fold_all(network, images())
    assert "has no scale to scale" in only(folded, constants)[0].reason


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        (networks.CalledTwice(), r"its module 'gate\.se' is called 2 times in a pass"),
        (Decides(), r"torch\.fx cannot trace Decides \(symbolically traced variables cannot be used as inputs to"),
        (networks.RadixSplitByHand(), r"torch\.fx cannot trace RadixSplitByHand \(Proxy object cannot be iterated"),
        (OverwritesOnTheWay(), r"OverwritesOnTheWay changes x in place \(relu_\) on the way to its gate"),
    ],
    ids=["called twice", "not traceable", "iterates", "overwrites"],
)
def test_refusals(gate, reason):
    network = ready(Around(nn.Conv2d(3, 8, 3), gate, nn.Conv2d(8, 4, 1)))
    batch = images()
    folded, _ = fold_all(network, batch)
    assert folded.fixed == []
    for site in folded.sites:
        assert site.how == "refused"
        assert re.match(reason, site.reason)
    torch.testing.assert_close(outputs(folded.network, batch), outputs(network, batch), rtol=0, atol=0)


WRITTEN = [
    networks.Functional, networks.InPlaceProduct, networks.OverwrittenGate, networks.ChangedAfterModule,
    networks.Einsum, networks.HardSigmoidByHand, networks.OnePlusTanh, networks.ChannelsLast, networks.Expanded,
    networks.SharedActivation, networks.SelectiveKernelByHand, networks.GroupedGate, networks.ChannelAndSpatial,
]  # fmt: skip


@pytest.mark.parametrize("gate", WRITTEN, ids=lambda gate: gate.__name__)
def test_equals_the_intervened_network_however_the_gate_is_written(gate):
    network = ready(Around(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), norm()), gate(), nn.Conv2d(8, 4, 1)))
    batch, other = images(), images(5)
    folded, constants = fold_all(network, batch)
    assert len(folded.fixed) == len(constants)
    with intervene(network, {site: Constant(values.numpy()) for site, values in constants.items()}):
        expected = network(other)
    torch.testing.assert_close(outputs(folded.network, other), expected, rtol=0, atol=1e-13)


def test_branches_that_are_multiplied_one_by_one_go_into_their_convolutions():
    network = ready(Around(nn.Conv2d(3, 8, 3), networks.SelectiveKernelByHand(), nn.SiLU()))
    batch = images()
    folded, constants = fold_all(network, batch)
    site, constant = only(folded, constants)
    assert (site.how, site.layers) == ("into layers", ("gate.small", "gate.large"))
    x = network.before(batch)
    small, large = network.gate.small(x), network.gate.large(x)
    expected = F.silu(small * constant[0][:, None, None] + large * constant[1][:, None, None]).mean((2, 3))
    torch.testing.assert_close(outputs(folded.network, batch), expected, rtol=0, atol=1e-14)
    assert {name for name, _ in folded.network.gate.named_children()} == {"small", "large"}


@pytest.mark.parametrize(("kind", "sites", "layers"), [("se", 9, 9), ("sk", 9, 18), ("sa", 9, 9)])
def test_demo_networks_fold_whole(kind, sites, layers):
    network = ready(demo_network(kind))
    size = tuple(network.pretrained_cfg["input_size"])
    batch = torch.rand(3, *size, dtype=torch.float64)
    found = find_gates(network, size)
    shapes = [(site.branches, site.channels) if site.branches > 1 else (site.channels,) for site in found]
    constants = {
        site: np.random.default_rng(0).uniform(0.1, 1, shape) for site, shape in zip(found, shapes, strict=True)
    }
    folded = fold_gates(network, constants, batch)
    assert len(folded.sites) == sites
    assert [site.how for site in folded.sites] == ["into layers"] * sites
    assert sum(len(site.layers) for site in folded.sites) == layers
    with intervene(network, {site: Constant(values) for site, values in constants.items()}):
        expected = network(batch)
    torch.testing.assert_close(outputs(folded.network, batch), expected, rtol=0, atol=1e-11)


def test_wrapped_and_training_networks_are_refused():
    network = ready(Around(nn.Conv2d(3, 8, 3), networks.Functional(), nn.Conv2d(8, 4, 1)))
    (site,) = find_gates(network, SIZE)
    with pytest.raises(SeProbeError, match="the network is wrapped in DataParallel, whose replicas run without"):
        fold_gates(nn.DataParallel(network), {site: np.ones(8)}, images())
    with pytest.raises(SeProbeError, match="the network is in training mode"):
        fold_gates(network.train(), {site: np.ones(8)}, images())


def test_constants_of_another_shape_are_refused():
    network = ready(Around(nn.Conv2d(3, 8, 3), networks.Functional(), nn.Conv2d(8, 4, 1)))
    (site,) = find_gates(network, SIZE)
    with pytest.raises(SeProbeError):
        fold_gates(network, {site: np.ones(7)}, images())
