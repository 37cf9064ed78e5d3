"""Products are found by values: the same gate twice is ambiguous, and the network's own forward is no exception."""

import torch
from torch import nn

from se_probe.folding import fold_gates
from se_probe.gates import Constant, find_gates, intervene
from tests.folding.networks import Around, ready
from tests.gates.networks import Functional, Stem

SIZE = (3, 16, 16)


class Twice(Functional):
    """Multiplies by one gate before and after a nonlinearity."""

    def forward(self, x):
        gate = self.factor(x)
        return torch.tanh(x * gate) * gate


class Two(Functional):
    """Two different gates in one forward."""

    def forward(self, x):
        return torch.tanh(x * self.factor(x)) * torch.sigmoid(x.mean((2, 3), keepdim=True))


class Itself(Functional):
    """A network whose own forward multiplies."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.last(super().forward(self.conv(x))).mean((2, 3))


def fold_all(network):
    torch.manual_seed(0)
    network = ready(network)
    sites = find_gates(network, SIZE)
    batch = torch.randn(3, *SIZE, dtype=torch.float64)
    constants = {site: torch.rand(site.channels, dtype=torch.float64).numpy() for site in sites}
    folded = fold_gates(network, constants, batch)
    with intervene(network, {site: Constant(constants[site]) for site in sites if site.name in folded.fixed}):
        expected = network(batch)
    with torch.no_grad():
        torch.testing.assert_close(folded.network(batch), expected, rtol=0, atol=1e-14)
    return folded


def test_one_gate_at_two_products_is_ambiguous():
    folded = fold_all(Stem(Twice()))
    assert folded.fixed == []
    assert {site.reason for site in folded.sites} == {
        "its gate is a factor in 2 of the 2 multiplications of 'gate_block', not in one"
    }


def test_two_gates_in_one_module_are_told_apart():
    folded = fold_all(Around(nn.Conv2d(3, 8, 3), Two(), nn.Conv2d(8, 4, 1)))
    assert [(site.how, site.layers) for site in folded.sites] == [
        ("into layers", ("before",)),
        ("into layers", ("after",)),
    ]
    assert len(folded.edits) == 1


def test_the_networks_own_forward():
    folded = fold_all(Itself())
    assert [(site.module, site.how, site.layers) for site in folded.sites] == [("", "into layers", ("conv",))]
    assert not any(name.startswith("fc") for name in folded.network.state_dict())
