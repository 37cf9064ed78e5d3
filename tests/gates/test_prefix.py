"""What lies before a site, on networks small enough to tell by eye."""

import torch
from torch import nn

from se_probe.gates import find_gates
from se_probe.gates.prefix import prefix_of, watch
from tests.gates import networks
from tests.gates.test_discovery import SIZE, build


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
    seen = watch(network, torch.randn(2, *SIZE))
    return seen, [prefix_of(seen, site, sites) for site in sites]


def test_calls_are_left_out_whole_and_only_what_is_read_again_is_needed():
    seen, (before_first, before_second) = prefixes(TwoBlocks().eval())
    names = [(call.module, call.index) for call in seen.calls]

    def named(numbers):
        return {names[number][0] for number in numbers}

    assert set(before_first.entries) == {"stem"}
    assert named(before_first.needed) == {"stem"}
    assert before_first.changed == frozenset()
    assert set(before_second.entries) == {"stem", "first"}
    assert named(before_second.needed) == {"first"}
    assert named(before_second.changed) == {"first"}


def test_a_module_that_is_called_twice_is_told_by_its_calls():
    seen, (first, second) = prefixes(build(networks.CalledTwice))
    skipped, runs = second.entries["gate_block.se"]
    assert (seen.calls[skipped].module, seen.calls[skipped].index, runs) == ("gate_block.se", 0, None)
    assert "gate_block.se" not in first.entries
