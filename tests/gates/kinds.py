"""Networks in which gates are hard to tell from other factors, with the right answer for each.

`KINDS` maps a name to a network's forward pass as a function of a `Net` and its first feature map. Each keeps the gates
that it multiplied by in `net.true`, `(image, [branch,] channel)`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = 16


class Net(nn.Module):
    """A strided convolution, then `act(net, x)`; `size` is that of the input."""

    def __init__(self, act, size=(3, 32, 32)):
        super().__init__()
        self.stem = nn.Conv2d(size[0], CHANNELS, 3, 2, 1)
        self.f, self.second = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.pair, self.three = nn.Linear(CHANNELS, 2 * CHANNELS), nn.Linear(CHANNELS, 3)
        self.a, self.b = nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1), nn.Conv2d(CHANNELS, CHANNELS, 5, 1, 2)
        self.scale = nn.Parameter(torch.rand(CHANNELS) + 0.5)
        self.act, self.true = act, []

    def forward(self, x):
        self.true = []
        return self.act(self, self.stem(x))

    def gate(self, x, layer=None):
        """A gate `(image, channel)`."""
        gate = torch.sigmoid((layer or self.f)(x.mean((2, 3))))
        self.true.append(gate.clone())
        return gate

    def select(self, u):
        """Softmax weights of two branches `(image, branch, channel)`, from the sum of their maps."""
        weights = self.pair(u.mean((2, 3))).view(-1, 2, CHANNELS).softmax(1)
        self.true = [weights.clone()]
        return weights

    def mix(self, x):
        """Softmax weights of three experts `(image, expert)`."""
        weights = self.three(x.mean((2, 3))).softmax(1)
        self.true = [weights[:, :, None].clone()]
        return weights

    def experts(self, x):
        """Three maps."""
        return [self.a(x), self.b(x), torch.tanh(x)]


def over(gate):
    return gate[:, :, None, None]


def branches_first(net, x):
    u = torch.stack([net.a(x), net.b(x)])
    return (u * net.select(u.sum(0)).transpose(0, 1)[..., None, None]).sum(0)


def branches_last(net, x):
    u = torch.stack([net.a(x), net.b(x)], 2)
    return (u * net.select(u.sum(2)).transpose(1, 2)[..., None, None]).sum(2)


def images_second(net, x):
    return (x.transpose(0, 1) * net.gate(x).t()[:, :, None, None]).transpose(0, 1)


def summed_sigmoids(net, x):
    u = torch.stack([net.a(x), net.b(x)], 1)
    net.true = [torch.sigmoid(net.pair(x.mean((2, 3)))).view(-1, 2, CHANNELS)]
    return (u * net.true[0].clone()[..., None, None]).sum(1)


def gate_and_complement(net, x):
    gate = torch.sigmoid(net.f(x.mean((2, 3))))
    net.true = [torch.stack([gate, 1 - gate], 1)]
    return net.a(x) * over(gate) + net.b(x) * over(1 - gate)


def einsum_branches_first(net, x):
    u = torch.stack([net.a(x), net.b(x)])
    return torch.einsum("knchw,nkc->nchw", u, net.select(u.sum(0)))


def matmul_over_branches(net, x):
    u = torch.stack([net.a(x), net.b(x)], 2).flatten(3)
    weights = net.select(x).transpose(1, 2)[:, :, None]
    return torch.matmul(weights, u).view(x.shape)


def experts_by_einsum(net, x):
    return torch.einsum("nkchw,nk->nchw", torch.stack(net.experts(x), 1), net.mix(x))


def experts_one_by_one(net, x):
    weights = net.mix(x)[:, :, None, None, None]
    return sum(weights[:, place] * item for place, item in enumerate(net.experts(x)))


def one_gate_for_three_maps(net, x):
    gate = net.gate(x)
    net.true = [gate.clone()] * 3
    return sum(item * over(gate) for item in net.experts(x))


def two_dead_gates(net, x):
    nn.init.zeros_(net.f.weight), nn.init.zeros_(net.f.bias)
    nn.init.zeros_(net.second.weight), nn.init.zeros_(net.second.bias)
    return net.a(x) * over(net.gate(x)) + net.b(x) * over(net.gate(x, net.second))


def group_norm(_net, x):
    y = x.view(len(x), 4, 4, *x.shape[2:])
    y = y - y.mean((2, 3, 4), keepdim=True)
    return y * (1 / (y.std((2, 3, 4), keepdim=True) + 1e-5))


def affine_norm(net, x):
    x = x - x.mean((2, 3), keepdim=True)
    return x * (net.scale[:, None, None] * (x.pow(2).mean((2, 3), keepdim=True) + 1e-5).pow(-0.5))


def global_response(net, x):
    norm = x.norm(dim=(2, 3))
    net.true = [norm / (norm.mean(1, keepdim=True) + 1e-6)]
    return x * over(net.true[0].clone())


def attention_over_both(net, x):
    spatial = x.mean(1, keepdim=True).expand_as(x)
    return x * torch.sigmoid(over(net.gate(x)).expand_as(x) * spatial)


def swish_of_nothing(net, x):
    nn.init.zeros_(net.a.weight)
    y = net.a(x)
    return y * torch.sigmoid(y)


ONE, PAIR, MIX = [(1, CHANNELS)], [(2, CHANNELS)], [(3, 1)]
KINDS = {
    # image axis and branches
    "branches first": (branches_first, PAIR),
    "branches last": (branches_last, PAIR),
    "images second": (images_second, ONE),
    "sigmoids whose products are summed": (summed_sigmoids, PAIR),
    "s and 1 - s": (gate_and_complement, PAIR),
    "two dead gates": (two_dead_gates, ONE * 2),
    "one gate for three maps": (one_gate_for_three_maps, ONE * 3),
    # written out over space
    "interpolated": (lambda net, x: x * F.interpolate(over(net.gate(x)), x.shape[2:]), ONE),
    "interpolated bilinearly": (
        lambda net, x: x * F.interpolate(over(net.gate(x)), x.shape[2:], mode="bilinear"),
        ONE,
    ),
    "repeated": (lambda net, x: x * over(net.gate(x)).repeat(1, 1, *x.shape[2:]), ONE),
    "expanded and copied": (lambda net, x: over(net.gate(x)).expand_as(x).contiguous() * x, ONE),
    "added to a map": (lambda net, x: x * (over(net.gate(x)) + torch.zeros_like(x)), ONE),
    "repeated over tokens": (
        lambda net, x: x.flatten(2).mT * net.gate(x)[:, None].repeat(1, x.shape[2] * x.shape[3], 1),
        ONE,
    ),
    # products of matrices
    "einsum, branches first": (einsum_branches_first, PAIR),
    "matmul over branches": (matmul_over_branches, PAIR),
    "experts by einsum": (experts_by_einsum, MIX),
    "experts one by one": (experts_one_by_one, MIX),
    # no gates
    "group norm": (group_norm, []),
    "affine instance norm": (affine_norm, []),
    "root mean square norm": (lambda _net, x: x * x.pow(2).mean((2, 3), keepdim=True).sqrt().reciprocal(), []),
    "norm by the maximum": (lambda _net, x: x * (1 / x.abs().amax((2, 3), keepdim=True)), []),
    "global response norm": (global_response, ONE),
    "random mask": (lambda _net, x: x * (torch.rand(*x.shape[:2], 1, 1) > 0.3).float(), []),
    "random noise": (lambda _net, x: x * (1 + 0.01 * torch.randn(*x.shape[:2], 1, 1)), []),
    "a gate with dropout": (lambda net, x: x * over(F.dropout(net.gate(x), 0.5, training=True)), []),
    "ones like the squeeze": (lambda _net, x: x * torch.ones_like(x.mean((2, 3), keepdim=True)), []),
    "a comparison that always holds": (lambda _net, x: x * (x.mean((2, 3), keepdim=True) > -1e9).float(), []),
    "a map times zero": (lambda _net, x: x * (x[:, :, :1, :1] * 0 + 0.5), []),
    "a filled tensor": (lambda _net, x: x * x.new_full((*x.shape[:2], 1, 1), 0.7), []),
    "a channel vector times a spatial map": (attention_over_both, []),
    "a query with its keys": (lambda net, x: (x[:, :, :1, :1] * x).sum(1, keepdim=True), []),
    "a swish of zeros": (swish_of_nothing, []),
    "a map over time": (lambda _net, x: x * torch.sigmoid(x.mean((1, 2), keepdim=True)), []),
}
