"""Networks whose gate paths are written in ways that hide them: views, buffers, reused and overwritten storages."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.gates.networks import Functional


class ChunkedInPlace(Functional):
    """The gate path goes on in place in one half of a storage whose other half is the feature map."""

    def forward(self, x):
        features, other = torch.cat([x, x], 1).chunk(2, dim=1)
        other.add_(features)
        gate = torch.sigmoid(self.fc2(F.relu(self.fc1(other.mean((2, 3))))))
        return features * gate[:, :, None, None]


class BufferedGate(Functional):
    """The gate is put into a part of a buffer, in whose other part the features go on."""

    def forward(self, x):
        buffer = torch.zeros(x.shape[0], 2 * x.shape[1])
        buffer[:, x.shape[1] :] = torch.sigmoid(self.squeeze(x))
        buffer[:, : x.shape[1]] = x.mean((2, 3))
        y = x * buffer[:, x.shape[1] :, None, None]
        return y + buffer[:, : x.shape[1], None, None]


class ReusedBuffer(Functional):
    """Overwrites the memory of the gate with what the output needs."""

    def forward(self, x):
        gate = torch.sigmoid(self.squeeze(x))
        y = x * gate[:, :, None, None]
        kept = gate.clone()
        kept.copy_(x.amax((2, 3)))
        return y + kept[:, :, None, None]


class RewrittenBuffer(Functional):
    """Computes its gate in a buffer that the output is then written into."""

    def forward(self, x):
        buffer = torch.zeros(x.shape[:2])
        buffer.copy_(self.squeeze(x))
        y = x * torch.sigmoid(buffer)[:, :, None, None]
        buffer.copy_(x.amax((2, 3)))
        return y + buffer[:, :, None, None]


class LowRank(Functional):
    """A layer whose weights are the product of two parameters, whatever the batch."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__(channels)
        self.left, self.right = nn.Parameter(torch.randn(channels, 2)), nn.Parameter(torch.randn(2, channels))

    def squeeze(self, x):
        return F.linear(x.mean((2, 3)), self.left @ self.right)


class UsedElsewhere(Functional):
    """The gate's first layer also feeds the output, so that only the second is the gate's alone."""

    def forward(self, x):
        hidden = F.relu(self.fc1(x.mean((2, 3))))
        gate = torch.sigmoid(self.fc2(hidden))
        return x * gate[:, :, None, None] + hidden.sum(1)[:, None, None, None]


class SharedLayers(nn.Module):
    """Two sites computed by one pair of layers."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.first, self.second = Functional(channels), Functional(channels)
        self.second.fc1, self.second.fc2 = self.first.fc1, self.first.fc2

    def forward(self, x):
        return self.second(self.first(x) + 1)


class DependsOnValues(Functional):
    """Goes another way where the first value of its input is above a threshold."""

    threshold = 0.0

    def forward(self, x):
        y = x * self.factor(x)
        return y if float(x.flatten()[0]) > self.threshold else y + 1
