"""Data flow against networks whose flow is plain to see."""

import torch
from torch import nn

from se_probe.trace.flow import follow


def operations(flow):
    return [step for step in flow.steps if step.operation]


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        y = self.conv(x)
        z = y.view(y.shape[0], 2, 2, *y.shape[2:]).relu_()
        return y.sum() + z.mean()


def test_views_share_a_value_and_overwriting_makes_another():
    flow = follow(Plain(), torch.randn(2, 3, 5, 5))
    names = [step.name for step in operations(flow)]
    assert names == ["convolution", "relu", "sum", "mean", "add"]
    convolution, relu, *_ = operations(flow)
    (before,), (after,) = convolution.outputs, relu.outputs
    assert before.value.storage == after.value.storage
    assert before.value.version + 1 == after.value.version
    assert [step.name for step in flow.read_by(before.value)] == ["relu"]
    assert [step.name for step in flow.read_by(after.value)] == ["sum", "mean"]
    assert flow.writer(after.value) is relu
    assert flow.writer(convolution.args[0].value) is None


def test_parameters_are_known_by_all_their_names():
    network = Plain()
    network.again = network.conv
    flow = follow(network, torch.randn(1, 3, 2, 2))
    weight = operations(flow)[0].args[1]
    assert flow.parameters[weight.value.storage] == ["conv.weight", "again.weight"]


class Slice(nn.Module):
    def forward(self, x):
        y = x * 2
        return (y[:, :1] + 1).sum() + y.expand(3, *y.shape).sum()


def test_whole_tells_parts_and_repetitions():
    flow = follow(Slice(), torch.randn(2, 3, 2, 2))
    product, plus, first, second, _ = operations(flow)
    assert product.outputs[0].whole
    assert not plus.args[0].whole
    assert first.name == second.name == "sum"
    assert not second.args[0].whole


def test_what_is_returned():
    flow = follow(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten()), torch.randn(2, 3, 5, 5))
    assert flow.returned == {operations(flow)[-1].outputs[0].value.storage}
