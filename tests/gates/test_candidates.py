"""Gates are told from all other factors by passes over other sizes, other images and another seed."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import GateRecorder, NoGatesError, discover, find_gates
from tests.gates import networks
from tests.gates.kinds import CHANNELS, KINDS, Net, over

SIZE = (3, 32, 32)
CASES = Path(__file__).parents[3] / "shared" / "cases" / "gates.py"


def build(act) -> nn.Module:
    torch.manual_seed(0)
    return Net(act).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_finds_and_records_what_the_network_multiplied_by(kind):
    act, expected = KINDS[kind]
    network = build(act)
    sites = discover(network, SIZE).sites
    assert [(site.branches, site.channels) for site in sites] == expected
    if sites:
        with torch.no_grad(), GateRecorder(network, sites) as recorder:
            network(torch.randn(3, *SIZE))
            for site, true in zip(sites, network.true, strict=True):
                assert torch.equal(recorder.gates[site.name].flatten(1), true.flatten(1))


@pytest.mark.skipif(not CASES.exists(), reason="no ../shared/cases")
def test_the_shared_cases_are_all_right(capsys):
    spec = importlib.util.spec_from_file_location("shared_cases", CASES)
    module = importlib.util.module_from_spec(spec)
    sys.modules["shared_cases"] = module
    spec.loader.exec_module(module)
    import resource

    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit = lambda *_limit: None  # the script limits its own process; this one runs other tests
    try:
        wrong = module.main([])
    finally:
        del sys.modules["shared_cases"]
    assert resource.getrlimit(resource.RLIMIT_AS) == limits
    assert not wrong, capsys.readouterr().out


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda _net, x: x * torch.sigmoid(x.mean(1, keepdim=True)), "spatial map"),
        (lambda _net, x: F.dropout2d(x, 0.3, training=True), "random"),
        (KINDS["a filled tensor"][0], "constant"),
        (KINDS["group norm"][0], "normalisation"),
        (lambda net, x: x * over(net.gate(x).mean(0, keepdim=True).repeat(len(x), 1).cumsum(0)), "other images"),
        (lambda net, x: (y := F.max_pool2d(x, 16)) * over(net.gate(y)), "one place"),
    ],
)
def test_what_is_left_out_is_kept_with_its_reason(act, kind):
    discovery = discover(build(act), SIZE)
    assert discovery.sites == ()
    (left,) = discovery.left_out
    assert (left.kind, left.module, left.count) == (kind, "", 1)
    with pytest.raises(NoGatesError, match=f"has no gates.*left out: 1 {kind}"):
        find_gates(build(act), SIZE)


def test_a_module_that_looks_like_a_gate_and_is_never_called_is_named():
    class SEModule(nn.Linear):
        pass

    network = build(lambda net, x: x * over(net.gate(x)))
    network.unused = SEModule(2, 2)
    sites = find_gates(network, SIZE)
    assert [(item.kind, item.module) for item in sites.left_out] == [("never called", "unused")]


def test_the_sites_print_as_a_table_with_what_was_left_out():
    lines = repr(find_gates(networks.Stem(networks.ChannelAndSpatial()).eval(), SIZE)).splitlines()
    assert lines[0].split()[:3] == ["name", "module", "family"]
    assert lines[1].split()[:3] == ["SE_1_1", "gate_block", "SE"]
    assert "spatial map" in lines[2]
    assert "gate_block" in lines[2]


class Frames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net(lambda net, x: x * over(net.gate(x)))

    def forward(self, x):
        return self.net(x.flatten(0, 1)).view(*x.shape[:2], -1).mean((1, 2))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.f = nn.Embedding(50, 12), nn.Linear(12, 12)

    def forward(self, ids, mask=None):
        x = self.embedding(ids)
        x = x * torch.sigmoid(self.f(x.mean(1)))[:, None]
        return x if mask is None else x * mask[..., None]


class OneSize(nn.Module):
    """Tokens with positions for one size of input only, and a gate that is a module or not."""

    def __init__(self, inside: bool) -> None:
        super().__init__()
        self.patches, self.positions = nn.Conv2d(3, 24, 8, 8), nn.Parameter(torch.zeros(1, 16, 24))
        self.block = networks.Functional(24)
        self.inside = inside

    def forward(self, x):
        x = self.patches(x).flatten(2).mT + self.positions
        if self.inside:
            return self.block(x.mT.reshape(len(x), 24, 4, 4))
        return x * torch.sigmoid(x.mean(1, keepdim=True))


def test_frames_on_the_axis_of_the_images_are_refused():
    with pytest.raises(SeProbeError, match=r"'net'.*frames or windows together.*single images"):
        find_gates(Frames(), (4, 3, 32, 32))


def test_where_only_one_size_runs_axes_are_told_inside_the_module_or_refused():
    assert [site.channels for site in find_gates(OneSize(inside=True), SIZE)] == [24]
    with pytest.raises(SeProbeError, match=r"which of them are spatial cannot be determined.*no other input size"):
        find_gates(OneSize(inside=False), SIZE)


def test_a_gate_that_went_through_numpy_is_refused():
    def act(net, x):
        return x * over(torch.from_numpy(net.gate(x).numpy().copy()))

    with pytest.raises(SeProbeError, match="no tensor operation leads from the input to it"):
        find_gates(build(act), SIZE)


class Takes(nn.Module):
    """Calls its network with what is in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Tokens()

    def forward(self, batch):
        return self.net(batch["ids"], batch["mask"])


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (Tokens(), torch.randint(50, (1, 9))),
        (Tokens(), (torch.randint(50, (2, 9)), torch.ones(2, 9))),
        (Tokens(), {"ids": torch.randint(50, (3, 9)), "mask": torch.ones(3, 9)}),
        (Takes(), {"ids": torch.randint(50, (3, 9)), "mask": torch.ones(3, 9)}),
    ],
)
def test_an_example_of_the_inputs(network, inputs):
    assert [(site.branches, site.channels) for site in find_gates(network, inputs=inputs)] == [(1, 12)]


def test_an_example_without_tensors_or_beside_a_size_is_refused():
    with pytest.raises(SeProbeError, match=r"a str without a tensor.*a tensor, a tuple"):
        find_gates(Tokens(), inputs="ids")
    with pytest.raises(SeProbeError, match="expected one of the two"):
        find_gates(Tokens(), SIZE, inputs=torch.ones(1, 3))


def test_a_squeeze_is_what_the_gate_is_computed_from_or_nothing():
    def summed(net, x):
        pooled = net.a(x).mean((2, 3)) + net.b(x).mean((2, 3))
        net.true = [pooled.clone()]
        return x * over(torch.sigmoid(net.f(pooled)))

    def layered(net, x):
        return x * over(torch.sigmoid(net.f(x.mean((2, 3))) + net.f(x.amax((2, 3)))))

    network = build(summed)
    (site,) = find_gates(network, SIZE)
    with torch.no_grad(), GateRecorder(network, [site], capture=("squeeze",)) as recorder:
        network(torch.randn(3, *SIZE))
        assert torch.equal(recorder.signals["squeeze", site.name], network.true[0])
    assert find_gates(build(layered), SIZE)[0].hook_point.squeeze is None


def test_concatenations_do_not_multiply_what_is_kept_of_kernels():
    class Ghost(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(CHANNELS, 8, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=8)
            self.f = nn.Linear(CHANNELS, CHANNELS)

        def forward(self, x):
            a = self.a(x)
            x = torch.cat([a, self.b(a)], 1)
            return x * over(torch.sigmoid(self.f(x.mean((2, 3)))))

    network = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, 2, 1), *[Ghost() for _ in range(30)])
    assert len(find_gates(network, SIZE)) == 30
