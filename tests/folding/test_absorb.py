"""Where constants can go, told from the data flow of real passes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from se_probe.folding import fold_gates
from se_probe.gates import find_gates
from tests.folding.networks import Around, norm, ready
from tests.gates.networks import Functional

SIZE = (3, 16, 16)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def folded_with(network, constant):
    network = ready(network)
    (site,) = find_gates(network, SIZE)
    folded = fold_gates(network, {site: constant.numpy()}, torch.randn(2, *SIZE, dtype=torch.float64))
    return folded.network, folded.sites[0]


def constants():
    return torch.rand(8, dtype=torch.float64) + 0.1


class Concatenated(nn.Module):
    """Two parts side by side, of 3 and 5 channels."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 5, 3)

    def forward(self, x):
        return torch.cat([self.left(x), F.relu(self.right(x))], dim=1)


def test_each_part_of_a_concatenation_takes_its_share():
    network = ready(Around(Concatenated(), Functional(), nn.SiLU()))
    constant = constants()
    folded, site = folded_with(network, constant)
    assert (site.how, site.layers) == ("into layers", ("before.left", "before.right"))
    assert torch.equal(folded.before.left.bias, network.before.left.bias * constant[:3])
    assert torch.equal(folded.before.right.bias, network.before.right.bias * constant[3:])


class Doubled(Concatenated):
    """A part that is read beside the concatenation."""

    def forward(self, x):
        left = self.left(x)
        return torch.cat([left, self.right(x) + left.mean(1, keepdim=True)], dim=1)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (nn.Conv2d(3, 8, 3), nn.SiLU(), None),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)), nn.SiLU(), None),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.1)), nn.SiLU(), None),
        (nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.Dropout(0.5)), nn.SiLU(), None),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU()), nn.Sequential(nn.ReLU(), nn.Conv2d(8, 4, 1)), None),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6()), nn.SiLU(), "hardtanh computes what is multiplied"),
        (Doubled(), nn.SiLU(), "mean reads what is scaled as well"),
        (nn.ConvTranspose2d(3, 8, 3), nn.SiLU(), "a transposed convolution is not scaled"),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU()),
            nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect"),
            "reflection_pad2d reads the product",
        ),
    ],
    ids=["conv", "group norm", "leaky", "dropout", "relu then conv", "relu6", "read", "transposed", "padded"],
)
def test_ways(before, after, reason):
    _, site = folded_with(Around(before, Functional(), after), constants())
    assert site.how == ("into layers" if reason is None else "fixed multiply")
    assert (reason or "") in site.reason


class ReturnsFeature(Around):
    """Hands out what lies before the gate, as feature extractors do."""

    def forward(self, x):
        feature = self.before(x)
        return self.after(self.gate(feature)), feature


def test_what_the_network_returns_is_not_scaled():
    _, site = folded_with(
        ReturnsFeature(nn.Sequential(nn.Conv2d(3, 8, 3), norm()), Functional(), nn.SiLU()), constants()
    )
    assert site.how == "fixed multiply"
    assert "before it: the network returns what is scaled" in site.reason


class Returned(Around):
    def forward(self, x):
        product = self.gate(F.silu(self.before(x)))
        return self.after(product), product


def test_a_product_that_the_network_returns_stays():
    _, site = folded_with(Returned(nn.Conv2d(3, 8, 3), Functional(), nn.Conv2d(8, 4, 1)), constants())
    assert "after it: the network returns what is scaled" in site.reason
