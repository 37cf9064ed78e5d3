"""Small networks whose gates are written in the ways that people write them."""

import torch
import torch.nn.functional as F
from torch import nn


class Stem(nn.Module):
    """A strided convolution in front of a gate, so that feature maps have channels and extent."""

    def __init__(self, gate: nn.Module, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.gate_block = gate

    def forward(self, x):
        return self.gate_block(self.conv(x)).mean((2, 3))


class Functional(nn.Module):
    """A functional sigmoid without a module of its own."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, channels)

    def squeeze(self, x):
        return self.fc2(F.relu(self.fc1(x.mean((2, 3)))))

    def factor(self, x):
        return torch.sigmoid(self.squeeze(x))[:, :, None, None]

    def forward(self, x):
        return x * self.factor(x)


class InPlaceProduct(Functional):
    def forward(self, x):
        return x.mul_(self.factor(x))


class OverwrittenGate(Functional):
    """Overwrites its gate after the product."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__(channels)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        gate = self.sigmoid(self.squeeze(x))[:, :, None, None]
        y = x * gate
        gate.zero_()
        return y


class ChangedAfterModule(Functional):
    """Changes the sigmoid's output in place before it multiplies: the module's output is not the gate."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__(channels)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        gate = self.sigmoid(self.squeeze(x))
        return x * gate.mul_(2)[:, :, None, None]


class Einsum(Functional):
    def forward(self, x):
        return torch.einsum("nchw,nc->nchw", x, torch.sigmoid(self.squeeze(x)))


class HardSigmoidByHand(Functional):
    def factor(self, x):
        return (F.relu6(self.squeeze(x) + 3) / 6)[:, :, None, None]


class OnePlusTanh(Functional):
    def factor(self, x):
        return 1 + torch.tanh(self.squeeze(x))[:, :, None, None]


class ChannelsLast(Functional):
    """An SE module for (N, H, W, C) maps."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        gate = torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((1, 2), keepdim=True)))))
        return (x * gate).permute(0, 3, 1, 2)


class Expanded(Functional):
    """ECA's manner: the gate is expanded to the whole feature map."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__(channels)
        self.slide = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        y = torch.sigmoid(self.slide(x.mean((2, 3))[:, None, :]))
        return x * y.transpose(1, 2).unsqueeze(-1).expand_as(x)


class SharedActivation(nn.Module):
    """Two blocks that share one sigmoid module."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        sigmoid = nn.Sigmoid()
        self.first, self.second = _WithActivation(channels, sigmoid), _WithActivation(channels, sigmoid)

    def forward(self, x):
        return self.second(self.first(x))


class _WithActivation(Functional):
    def __init__(self, channels: int, sigmoid: nn.Module) -> None:
        super().__init__(channels)
        self.sigmoid = sigmoid

    def factor(self, x):
        return self.sigmoid(self.squeeze(x))[:, :, None, None]


class CalledTwice(nn.Module):
    """One SE module that is called twice in a forward pass."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.se = _WithActivation(channels, nn.Sigmoid())

    def forward(self, x):
        return self.se(self.se(x) + 1)


class SelectiveKernelByHand(nn.Module):
    """Two branches, each multiplied by its own softmax weight (SKNet, equation 6)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.small = nn.Conv2d(channels, channels, 3, padding=1)
        self.large = nn.Conv2d(channels, channels, 3, padding=2, dilation=2)
        self.fuse, self.select = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, 2 * channels)

    def forward(self, x):
        small, large = self.small(x), self.large(x)
        logits = self.select(F.relu(self.fuse((small + large).mean((2, 3)))))
        a, b = logits.view(x.shape[0], 2, -1).softmax(1).unbind(1)
        return small * a[:, :, None, None] + large * b[:, :, None, None]


class RadixSplitByHand(nn.Module):
    """Split attention as its authors wrote it: the radix splits are multiplied one by one."""

    def __init__(self, channels: int = 8, radix: int = 2) -> None:
        super().__init__()
        self.radix = radix
        self.conv = nn.Conv2d(channels, channels * radix, 3, padding=1, groups=radix)
        self.fc1, self.fc2 = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels * radix, 1)

    def forward(self, x):
        splits = torch.split(self.conv(x), x.shape[1], dim=1)
        squeeze = sum(splits).mean((2, 3), keepdim=True)
        weights = self.fc2(F.relu(self.fc1(squeeze))).view(x.shape[0], self.radix, -1).softmax(1)
        weights = weights.reshape(x.shape[0], -1, 1, 1)
        parts = torch.split(weights, x.shape[1], dim=1)
        return sum(weight * split for weight, split in zip(parts, splits, strict=True))


class FlatRadix(RadixSplitByHand):
    """Split attention that multiplies all splits at once, by the radix-major flat vector."""

    def forward(self, x):
        y = self.conv(x)
        squeeze = y.view(x.shape[0], self.radix, x.shape[1], *x.shape[2:]).sum(1).mean((2, 3), keepdim=True)
        weights = self.fc2(F.relu(self.fc1(squeeze))).view(x.shape[0], self.radix, -1).softmax(1)
        y = y * weights.reshape(x.shape[0], -1, 1, 1)
        return y.view(x.shape[0], self.radix, x.shape[1], *x.shape[2:]).sum(1)


class GroupedGate(Functional):
    """A gate in groups of channels that do not compete."""

    def forward(self, x):
        n, c, h, w = x.shape
        gate = torch.sigmoid(self.squeeze(x)).view(n, 2, c // 2, 1, 1)
        return (x.view(n, 2, c // 2, h, w) * gate).view(n, c, h, w)


class ChannelAndSpatial(Functional):
    """CBAM's manner: a channel gate, then a spatial map."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__(channels)
        self.spatial = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x):
        x = super().forward(x)
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.spatial(pooled))


class CoordinateAttention(nn.Module):
    """Factors along height and along width: spatial maps both, no gate."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.down, self.across = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True)
        return x * torch.sigmoid(self.down(rows)) * torch.sigmoid(self.across(columns))


class NotGates(nn.Module):
    """Products that are no gates: a parameter, a constant, a self-gated activation, a factor of one per image."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(1, channels, 1, 1))

    def forward(self, x):
        x = x * self.scale
        x = x * self.scale.sigmoid().expand(x.shape[0], -1, -1, -1)
        x = x * torch.arange(1.0, x.shape[1] + 1)[None, :, None, None]
        x = x * torch.sigmoid(x)
        return x * x.mean((1, 2, 3), keepdim=True)


class Undecided(Functional):
    """Takes another path through the network when told to."""

    skip = False

    def forward(self, x):
        return x if self.skip else super().forward(x)
