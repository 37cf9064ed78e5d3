import math

import pytest
import torch
from torch import nn

from se_probe.recording.fast_copy import deviation, fold_batch_norms
from tests.recording.living import living


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
