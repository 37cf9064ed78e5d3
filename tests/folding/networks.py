"""Small networks around one gate, with what the tests need before and after it."""

import torch
from torch import nn

from tests.gates.networks import Functional


class Around(nn.Module):
    """Layers, a gate, and layers again; the classifier is the mean over space."""

    def __init__(self, before: nn.Module, gate: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before, self.gate, self.after = before, gate, after

    def forward(self, x):
        return self.after(self.gate(self.before(x))).mean((2, 3))


class ReadTwice(Around):
    """The gate's input is read by a residual connection too."""

    def forward(self, x):
        x = self.before(x)
        return self.after(self.gate(x) + x).mean((2, 3))


class Decides(Functional):
    """Asks for a value on its way, so that no graph stands for its forward."""

    def forward(self, x):
        return x * self.factor(x) if x.sum() > -1e9 else x


class OverwritesOnTheWay(Functional):
    """Rectifies the feature map in place on the way to the gate, and multiplies what came of it."""

    def forward(self, x):
        gate = torch.sigmoid(self.squeeze(x.relu_()))
        return x * gate[:, :, None, None]


def norm(channels: int = 8) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5)
        layer.bias.normal_()
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2)
    return layer


def ready(network: nn.Module) -> nn.Module:
    """In double precision, so that deviations of rounding and of structure cannot be taken for each other."""
    return network.double().eval().requires_grad_(False)
