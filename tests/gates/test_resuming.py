"""Resumed passes against whole ones; what comes before a site, on networks small enough to tell by eye."""

from collections import Counter

import pytest
import timm
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from se_probe.gates import Scale, find_gates, intervene
from se_probe.gates.resuming import PassLog, Resumable, prefix_of
from tests.gates import networks
from tests.gates.test_discovery import SIZE, WRITTEN, build
from tests.gates.test_intervention import living
from tests.gates.test_recorder import count_hooks

SMALL = (3, 64, 64)


class Convolutions(TorchDispatchMode):
    """Counts the convolutions that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += func.overloadpacket.__name__ in {"convolution", "conv2d"}  # undecomposed in inference mode
        return func(*args, **(kwargs or {}))


def both(passes, network, site, batch):
    """The output of a resumed and of a whole changed pass, and how many convolutions each computed."""
    with torch.inference_mode(), passes.kept():
        network(batch)
        with intervene(network, {site: Scale(0.5)}):
            with passes.resumed([site]), Convolutions() as fewer:
                resumed = network(batch)
            with Convolutions() as all_of_them:
                whole = network(batch)
    return resumed, whole, fewer.number, all_of_them.number


@pytest.mark.parametrize(
    "architecture", ["legacy_seresnet18", "skresnet18", "resnest14d", "ecaresnet26t", "mobilenetv3_small_100"]
)
def test_resumed_passes_equal_whole_ones_and_compute_less(architecture):
    network, batch = living(architecture), torch.randn(3, *SMALL)
    sites = find_gates(network, SMALL)
    passes = Resumable(network, sites, SMALL)
    assert passes.whole == []
    computed = []
    for site in sites:
        resumed, whole, fewer, all_of_them = both(passes, network, site, batch)
        assert torch.equal(resumed, whole), site.name
        assert fewer < all_of_them
        computed.append(fewer)
    assert computed == sorted(computed, reverse=True)


@pytest.mark.parametrize("kind", [row[0] for row in WRITTEN])
def test_however_the_gate_is_written(kind):
    network, batch = build(kind), torch.randn(3, *SIZE)
    (site,) = find_gates(network, SIZE)
    resumed, whole, _, _ = both(Resumable(network, [site], SIZE), network, site, batch)
    assert torch.equal(resumed, whole)


class Residual(nn.Module):
    """Blocks that add in place to what a module returned, which a resumed pass must not do twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.first, self.second = networks.Functional(), networks.Functional()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.conv(x))
        y = self.first(x)
        x += y
        return self.second(x).add_(x).mean((2, 3))


class SideEffect(nn.Module):
    """A module that changes its input in place and returns something else: leaving it out would be seen."""

    def forward(self, x):
        x.mul_(2)
        return x.mean((2, 3), keepdim=True)


class Hidden(networks.Stem):
    def __init__(self) -> None:
        super().__init__(networks.Functional())
        self.aside = SideEffect()

    def forward(self, x):
        x = self.conv(x) + 1
        shift = self.aside(x)
        return self.gate_block(x + shift).mean((2, 3))


@pytest.mark.parametrize("kind", [Residual, Hidden, networks.SharedActivation, networks.CalledTwice])
def test_in_place_changes_side_effects_and_shared_modules(kind):
    torch.manual_seed(0)
    network = (kind() if issubclass(kind, Residual | Hidden) else networks.Stem(kind())).eval()
    batch = torch.randn(3, *SIZE)
    sites = find_gates(network, SIZE)
    passes = Resumable(network, sites, SIZE)
    for site in sites:
        for _ in range(2):
            resumed, whole, _, _ = both(passes, network, site, batch)
            assert torch.equal(resumed, whole)


def test_a_site_from_which_nothing_can_be_resumed_is_named_and_run_whole():
    network, batch = Hidden().eval(), torch.randn(2, *SIZE)
    (site,) = find_gates(network, SIZE)
    passes = Resumable(network, [site], SIZE)
    assert passes.whole == ["SE_1_1"]
    _, _, fewer, all_of_them = both(passes, network, site, batch)
    assert fewer == all_of_them


def test_batches_of_other_sizes_follow_each_other():
    network = living("legacy_seresnet18")
    sites = find_gates(network, SMALL)
    passes = Resumable(network, sites, SMALL)
    for images in (4, 1):
        resumed, whole, _, _ = both(passes, network, sites[-1], torch.randn(images, *SMALL))
        assert len(resumed) == images
        assert torch.equal(resumed, whole)


def test_nothing_is_left_behind_even_after_an_exception():
    network, batch = timm.create_model("legacy_seresnet18").eval(), torch.randn(2, *SMALL)
    before = Counter(key for module in network.modules() for key in vars(module))
    sites = find_gates(network, SMALL)
    passes = Resumable(network, sites, SMALL)
    with torch.inference_mode(), passes.kept():
        network(batch)
        with pytest.raises(RuntimeError), passes.resumed(sites):
            network.layer4(torch.randn(1, 3, 8, 8))
    assert count_hooks(network) == 0
    assert Counter(key for module in network.modules() for key in vars(module)) == before


class TwoBlocks(nn.Module):
    """A stem, and two gated blocks, of which the second adds in place to the first one's output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.first, self.second = networks.Functional(), networks.Functional()

    def forward(self, x):
        x = self.first(self.stem(x))
        y = self.second(x)
        x += y
        return x.mean((2, 3))


def prefixes(network: nn.Module):
    sites = find_gates(network, SIZE)
    seen = PassLog()
    batch = torch.randn(2, *SIZE)
    seen.watch(network, lambda: network(batch))
    return seen, [prefix_of(seen, site, sites) for site in sites]


def test_calls_are_left_out_whole_and_only_what_is_read_again_is_needed():
    seen, (before_first, before_second) = prefixes(TwoBlocks().eval())
    names = [(call.module, call.index) for call in seen.began]

    def named(numbers):
        return {names[number][0] for number in numbers}

    assert set(before_first.entries) == {"stem"}
    assert named(before_first.needed) == {"stem"}
    assert set(before_second.entries) == {"stem", "first"}
    assert named(before_second.needed) == {"first"}


def test_a_module_that_is_called_twice_is_told_by_its_calls():
    seen, (first, second) = prefixes(build(networks.CalledTwice))
    skipped, runs = second.entries["gate_block.se"]
    assert (seen.began[skipped].module, seen.began[skipped].index, runs) == ("gate_block.se", 0, None)
    assert "gate_block.se" not in first.entries
