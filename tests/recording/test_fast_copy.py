"""Folded and compiled networks against plain eager ones; compiling takes long, so those networks are small."""

import math

import pytest
import torch
from torch import nn

from se_probe.gates import find_gates
from se_probe.recording.fast_copy import compiled, deviation, fold_batch_norms
from se_probe.recording.forward import HookedNetwork
from tests.gates import networks
from tests.gates.test_discovery import SIZE
from tests.recording.living import living
from tests.recording.test_engine import count_hooks, images, run


def norms(network):
    return [path for path, module in network.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("architecture", ["legacy_seresnet18", "skresnet18", "resnest14d", "test_efficientnet"])
def test_a_folded_network_computes_the_same(architecture):
    network = living(architecture)
    batch = torch.randn(2, 3, 64, 64)
    expected = network(batch)
    before = len(norms(network))
    folded = fold_batch_norms(network, batch[:1])
    assert folded == before > 0
    assert norms(network) == []
    torch.testing.assert_close(network(batch), expected, rtol=1e-4, atol=1e-4)
    assert not any(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_weights_are_those_of_the_closed_form():
    """w' = w γ/√(σ²+ε), b' = (b − µ) γ/√(σ²+ε) + β (Jacob et al., arXiv 1712.05877, equation 14)."""
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    network = nn.Sequential(convolution, norm).eval().requires_grad_(False)
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    assert fold_batch_norms(network, torch.randn(1, 3, 8, 8)) == 1
    torch.testing.assert_close(network[0].weight.double(), convolution.weight.double() * scale[:, None, None, None])
    bias = (convolution.bias.double() - norm.running_mean.double()) * scale + norm.bias.double()
    torch.testing.assert_close(network[0].bias.double(), bias)


class Odd(nn.Module):
    """Convolutions and batch norms that must not be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.relu_between, self.third = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.hooked, self.fourth = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.hooked.register_forward_hook(lambda _m, _i, output: 2 * output)
        self.untracked, self.fifth = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x):
        x = self.first(self.shared(x)) + self.second(self.shared(x + 1))
        x = self.third(self.relu_between(x).relu())
        return self.fifth(self.untracked(self.fourth(self.hooked(x))))


def test_what_cannot_be_folded_is_left_alone():
    torch.manual_seed(0)
    network = Odd().eval().requires_grad_(False)
    batch = torch.randn(2, 3, 6, 6)
    expected = network(batch)
    assert fold_batch_norms(network, batch) == 0
    assert torch.equal(network(batch), expected)


def test_the_largest_difference_relative_where_values_exceed_one():
    expected = {("gate", "a"): torch.tensor([[0.5, 0.25]]), ("feature_after", "a"): torch.tensor([[-200.0, 3.0]])}
    found = {("gate", "a"): torch.tensor([[0.5, 0.75]]), ("feature_after", "a"): torch.tensor([[-150.0, 3.0]])}
    assert deviation(expected, expected) == 0
    assert deviation(expected, found) == 0.5
    found["gate", "a"] = expected["gate", "a"]
    assert deviation(expected, found) == pytest.approx(50 / 200)


def test_nan_agrees_with_nan_only():
    nan = {("gate", "a"): torch.tensor([[math.nan, 1.0]])}
    number = {("gate", "a"): torch.tensor([[0.0, 1.0]])}
    assert deviation(nan, nan) == 0
    assert deviation(nan, number) == math.inf
    assert deviation(number, nan) == math.inf


class TwoGates(nn.Module):
    """One gate that is a module's output and one that is a functional sigmoid, with batch norms between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.first, self.second = networks.OverwrittenGate(), networks.Functional()
        self.norm.running_mean.normal_(0, 0.1)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        return self.second(self.first(self.norm(self.conv(x)))).mean((2, 3))


def by_hand(network, batch):
    with torch.no_grad():
        feature_map = network.norm(network.conv(batch))
        first = network.first.factor(feature_map)
        return first[:, :, 0, 0], network.second.factor(feature_map * first)[:, :, 0, 0]


def two_gates():
    torch.manual_seed(0)
    return TwoGates().eval().requires_grad_(False)


def test_compiled_gates_and_predictions_of_batches_of_any_size():
    network = two_gates()
    batch = images(3, SIZE)
    output, signals, lines, prepared = run(network, batch, size=SIZE, batch_size=4, total=10, compile=True)
    assert prepared.facts["compilation"]["largest_difference"] <= 1e-5
    assert prepared.facts["batch_norms_folded"] == 1
    for values, expected in zip(signals.values(), by_hand(network, batch), strict=True):
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(output, network(batch), rtol=1e-4, atol=1e-5)
    assert lines[0] == "note      without compilation the run takes about 0 s: compiling will not pay"
    assert lines[1].startswith("compile   ")
    assert lines[1].endswith("this run has 10")


def test_a_compiled_network_that_is_slower_is_given_up(monkeypatch):
    times = iter([1.0, 1.0, 1.0, 1.0, 1.0, 1.5, 1.4])  # two copies, twice each; before, and twice compiled
    monkeypatch.setattr("se_probe.recording.fast_copy.seconds", lambda *_args, **_options: next(times))
    _, _, lines, prepared = run(two_gates(), images(3, SIZE), size=SIZE, batch_size=4, total=100, compile=True)
    assert "350.0 ms" in lines[-1]
    assert "250.0 ms without" in lines[-1]
    assert prepared.facts["compilation"].keys() == {"given_up"}


def test_weights_are_frozen_into_the_compiled_network():
    network, batch = two_gates(), images(4, SIZE)
    expected = by_hand(network, batch)
    hooked = HookedNetwork(network, find_gates(network, SIZE))
    with hooked.hooks():
        frozen = compiled(hooked, tuple(batch.shape))
    with torch.no_grad():
        network.conv.weight.zero_()
    for values, gates in zip(frozen(batch)[1].values(), expected, strict=True):
        torch.testing.assert_close(values, gates, rtol=0, atol=1e-5)


class Worldly(networks.Functional):
    """Leaves the graph: NumPy takes part in the gate."""

    def squeeze(self, x):
        return super().squeeze(x) + torch.from_numpy(x.mean((2, 3)).numpy())


@pytest.mark.parametrize("predictions", [True, False])
def test_where_a_graph_is_wrong_the_run_goes_on_without(predictions):
    torch.manual_seed(0)
    network = networks.Stem(Worldly()).eval().requires_grad_(False)
    batch = images(3, SIZE)
    with torch.no_grad():
        expected = network.gate_block.factor(network.conv(batch))[:, :, 0, 0]
    _, signals, lines, prepared = run(network, batch, size=SIZE, compile=True, predictions=predictions)
    assert lines[-1].startswith("note      the network is not compiled (")
    assert "not compiled" in lines[-1]
    assert prepared.facts["compilation"].keys() == {"given_up"}
    torch.testing.assert_close(signals["gate", "SE_1_1"], expected, rtol=0, atol=1e-5)
    assert count_hooks(network) == 0
