"""Every pass meets the products of the dry pass, by whatever way it is made, or is refused."""

import threading

import pytest
import timm
import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import Branch, Constant, GateRecorder, Identity, PerLabel, Replacement, Scale, find_gates, intervene
from tests.gates import networks
from tests.gates.test_discovery import SIZE, WRITTEN, build
from tests.gates.test_intervention import living
from tests.gates.test_recorder import count_hooks, record

ANOTHER_WAY = "took another path than the dry pass"


def images(number: int = 2, size=SIZE) -> torch.Tensor:
    return torch.randn(number, *size)


class OptionalMask(networks.Functional):
    """Multiplies by a mask of the gate's shape first, where one is given."""

    mask = None

    def forward(self, x):
        if self.mask is not None:
            x = x * self.mask[:, :, None, None]
        return super().forward(x)


class MaskInstead(networks.Functional):
    """Multiplies by a mask that depends on the input instead of the gate."""

    instead = False

    def forward(self, x):
        if self.instead:
            return x * (x.mean((2, 3), keepdim=True) > 0).to(x.dtype)
        return super().forward(x)


class GateFirst(networks.Functional):
    """Swaps the two operands when told to."""

    swapped = False

    def forward(self, x):
        return self.factor(x) * x if self.swapped else x * self.factor(x)


class AboveSomeSize(networks.Functional):
    """Scales large maps before the gate."""

    def forward(self, x):
        return super().forward(x * x.amax((2, 3), keepdim=True) if x.shape[-1] > 16 else x)


class OneMoreAfterwards(networks.Functional):
    """Multiplies once more after the gate, when told to."""

    more = False

    def forward(self, x):
        y = super().forward(x)
        return y * y.sigmoid() if self.more else y


class TwoGatesInOrder(nn.Module):
    """Two gates of one forward, in either order."""

    swapped = False

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.f, self.g = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, x):
        z = x.mean((2, 3))
        first, second = torch.sigmoid(self.f(z))[:, :, None, None], torch.sigmoid(self.g(z))[:, :, None, None]
        return x * second * first if self.swapped else x * first * second


VARIANTS = {
    "an optional mask": (OptionalMask, lambda net: setattr(net.gate_block, "mask", torch.ones(1, 8)), SIZE),
    "a mask instead of the gate": (MaskInstead, lambda net: setattr(net.gate_block, "instead", True), SIZE),
    "operands swapped": (GateFirst, lambda net: setattr(net.gate_block, "swapped", True), SIZE),
    "a branch above some size": (AboveSomeSize, lambda net: None, (3, 64, 64)),
    "one more product afterwards": (OneMoreAfterwards, lambda net: setattr(net.gate_block, "more", True), SIZE),
    "two gates in another order": (TwoGatesInOrder, lambda net: setattr(net.gate_block, "swapped", True), SIZE),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_pass_that_makes_other_products_is_refused_whole(variant):
    kind, change, size = VARIANTS[variant]
    network = build(kind)
    sites = find_gates(network, SIZE)
    record(network, sites, images())
    change(network)
    with GateRecorder(network, sites) as recorder:
        with pytest.raises(SeProbeError, match=ANOTHER_WAY):
            network(images(size=size))
        with pytest.raises(SeProbeError, match="holds no gates"):
            recorder.gates  # noqa: B018
    with pytest.raises(SeProbeError, match=ANOTHER_WAY), intervene(network, {sites[0]: Identity()}):
        network(images(size=size))
    assert count_hooks(network) == 0
    assert torch._C._len_torch_dispatch_stack() == 0


@pytest.mark.parametrize("kind", [row[0] for row in WRITTEN])
@pytest.mark.parametrize(
    "batch", [images(1), images(5), images(2, (3, 48, 40)), images(3).bfloat16()], ids=["one", "five", "48x40", "bf16"]
)
def test_the_same_products_are_met_at_other_sizes_and_precisions(kind, batch):
    network = build(kind)
    sites = find_gates(network, SIZE)
    gates = record(network.to(batch.dtype), sites, batch)
    assert [len(values) for values in gates.values()] == [len(batch)]


def test_logits_are_refused_where_an_operation_of_their_kind_is_added():
    network = build(networks.Functional)
    sites = find_gates(network, SIZE)
    with GateRecorder(network, sites, ["logit"]) as recorder:
        network(images())
        recorder.signals  # noqa: B018
        network.conv.register_forward_hook(lambda _m, _i, output: output + torch.sigmoid(output))
        with pytest.raises(SeProbeError, match=rf"{ANOTHER_WAY}.* 2 sigmoid operations, not 1"):
            network(images())
    with torch.no_grad():
        assert record(network, sites, images())


class WithFeatures(nn.Module):
    """A network with a second entry point, as timm's have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.first, self.second = networks.Functional(), networks.Functional()
        self.head = nn.Linear(8, 4)

    def forward_features(self, x):
        return self.second(self.first(self.stem(x)))

    def forward(self, x):
        return self.head(self.forward_features(x).mean((2, 3)))


class Wrapper(nn.Module):
    """Calls the parts of a network, never the network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(network.stem, network.first, network.second)

    def forward(self, x):
        return self.parts(x)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return WithFeatures().eval()


@pytest.fixture(params=["features", "wrapper"])
def entry(request, network):
    return network.forward_features if request.param == "features" else Wrapper(network).eval()


class TestAnyEntryPoint:
    def test_gates_are_those_of_each_pass(self, network, entry):
        sites, batches = find_gates(network, SIZE), [images(3), images(2)]
        expected = [record(network, sites, batch) for batch in batches]
        with torch.no_grad(), GateRecorder(network, sites) as recorder:
            for batch, gates in [*zip(batches, expected, strict=True)] * 2:
                entry(batch)
                assert all(torch.equal(recorder.gates[name], values) for name, values in gates.items())
            network(batches[0])
            assert all(torch.equal(recorder.gates[name], values) for name, values in expected[0].items())

    def test_every_pass_is_changed(self, network, entry):
        sites, batch = find_gates(network, SIZE), images()
        with torch.no_grad():
            features = 0.25 * network.stem(batch)
        with intervene(network, {site: Constant([0.5] * 8) for site in sites}):
            outputs = [entry(batch) for _ in range(3)]
            whole = network(batch)
        for output in outputs:
            torch.testing.assert_close(output, features)
        torch.testing.assert_close(whole, network.head(features.mean((2, 3))))

    def test_a_part_that_does_not_reach_all_sites_is_refused(self, network):
        sites, batch = find_gates(network, SIZE), images()
        with torch.no_grad(), GateRecorder(network, sites) as recorder:
            network(batch)
            network.first(network.stem(batch))
            with pytest.raises(SeProbeError, match="did not reach SE_1_2"):
                recorder.gates  # noqa: B018
            with pytest.raises(SeProbeError, match=rf"{ANOTHER_WAY}.*without reaching SE_1_2"):
                network.first(network.stem(batch))
        with (
            pytest.raises(SeProbeError, match="no pass in it has reached SE_1_2"),
            intervene(network, {site: Identity() for site in sites}),
        ):
            network.first(network.stem(batch))
        assert torch.is_grad_enabled()
        assert count_hooks(network) == 0

    def test_a_network_that_multiplies_itself_is_refused_where_its_method_is_called(self):
        class Own(WithFeatures):
            def forward_features(self, x):
                x = self.stem(x)
                return x * self.first.factor(x)

        torch.manual_seed(0)
        own = Own().eval()
        sites, batch = find_gates(own, SIZE), images()
        with intervene(own, {sites[0]: Identity()}):
            own(batch)
            with pytest.raises(SeProbeError, match="outside a call of the network"):
                own.forward_features(batch)
        assert count_hooks(own) == 0

    def test_logits_need_a_whole_pass(self, network):
        with (
            GateRecorder(network, find_gates(network, SIZE), ["logit"]),
            pytest.raises(SeProbeError, match="call network"),
        ):
            network.forward_features(images())

    def test_a_pass_after_one_that_failed(self, network):
        sites, batch = find_gates(network, SIZE), images()
        expected = record(network, sites, batch)
        with torch.no_grad(), GateRecorder(network, sites) as recorder:
            with pytest.raises(RuntimeError):
                network(torch.randn(2, 4, 32, 32))
            network.forward_features(batch)
            assert torch.equal(recorder.gates["SE_1_2"], expected["SE_1_2"])

    def test_timm_features(self):
        network = timm.create_model("legacy_seresnet18").eval()
        sites, batch = find_gates(network, (3, 64, 64)), images(2, (3, 64, 64))
        gates = record(network, sites, batch)
        with torch.no_grad(), GateRecorder(network, sites) as recorder:
            network.forward_features(batch)
        assert all(torch.equal(recorder.gates[name], values) for name, values in gates.items())


class Doubled(Replacement):
    """Computes with tensors, as a replacement of a user's own may."""

    def values(self, gate, place):
        return gate * torch.full_like(gate, 2)


@pytest.mark.parametrize("kind", [row[0] for row in WRITTEN])
@pytest.mark.parametrize("recorder_first", [True, False])
def test_a_recorder_beside_an_intervention_reads_the_factor_that_was_multiplied_by(kind, recorder_first):
    network, batch = build(kind), images()
    (site,) = find_gates(network, SIZE)
    own = record(network, [site], batch)[site.name]
    capture = ["original", "feature"]
    recorder, change = GateRecorder(network, [site], capture), intervene(network, {site: Doubled()})
    first, second = (recorder, change) if recorder_first else (change, recorder)
    with torch.no_grad(), first, second:
        network(batch)
    found = recorder.signals
    assert torch.equal(found["gate", site.name], own * 2)
    assert torch.equal(found["original", site.name], own)
    before, after = found["feature_before", site.name], found["feature_after", site.name]
    torch.testing.assert_close(after, before * own * 2)


@pytest.mark.parametrize("recorder_first", [True, False])
def test_timm_gates_under_an_intervention(recorder_first):
    network, batch = living("seresnet50"), images(2, (3, 64, 64))
    first, *_ = sites = find_gates(network, (3, 64, 64))
    own = record(network, sites, batch)
    recorder, change = GateRecorder(network, sites), intervene(network, {first: Scale(0.5)})
    outer, inner = (recorder, change) if recorder_first else (change, recorder)
    with torch.no_grad(), outer, inner:
        network(batch)
    assert torch.equal(recorder.gates[first.name], own[first.name] * 0.5)
    assert not torch.equal(recorder.gates[sites[1].name], own[sites[1].name])


class EinsumOverBranches(networks.SelectiveKernelByHand):
    """Selects the branches by a matrix product, in which the feature map is not multiplied element by element."""

    def forward(self, x):
        maps = torch.stack([self.small(x), self.large(x)], 1)
        logits = self.select(self.fuse(maps.sum(1).mean((2, 3))).relu())
        self.true = logits.view(x.shape[0], 2, -1).softmax(1)
        return torch.einsum("nkchw,nkc->nchw", maps, self.true)


def test_gates_of_a_matrix_product():
    network, batch = build(EinsumOverBranches), images(3)
    (site,) = find_gates(network, SIZE)
    with torch.no_grad(), GateRecorder(network, [site], ["feature", "original"]) as recorder:
        plain = network(batch)
    assert list(recorder.signals) == [("gate", site.name), ("original", site.name)]
    assert torch.equal(recorder.gates[site.name], network.gate_block.true)
    with intervene(network, {site: Scale(1.0)}):
        assert torch.equal(network(batch), plain)
    with intervene(network, {site: Branch(1)}):
        alone = network(batch)
    with torch.no_grad():
        torch.testing.assert_close(alone, network.gate_block.large(network.conv(batch)).mean((2, 3)))


def test_a_matrix_product_with_its_operands_swapped_is_refused():
    """torch.einsum swaps the operands of this product where there is one image."""
    network = build(EinsumOverBranches)
    sites = find_gates(network, SIZE)
    with GateRecorder(network, sites), pytest.raises(SeProbeError, match=f"{ANOTHER_WAY}.*come from _softmax"):
        network(images(1))


def test_interventions_on_one_site_act_in_the_order_in_which_they_were_entered():
    network, batch = build(networks.Functional), images()
    (site,) = find_gates(network, SIZE)
    with intervene(network, {site: Constant([0.5] * 8)}), intervene(network, {site: Scale(0.5)}):
        output = network(batch)
    with torch.no_grad():
        assert torch.equal(output, (network.conv(batch) * 0.25).mean((2, 3)))


class Outer(nn.Module):
    """Multiplies by a gate of its own beside a block that has one: the inner call lies in the outer one."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.f = networks.Functional(), nn.Linear(8, 8)

    def forward(self, x):
        x = self.inner(x)
        return x * torch.sigmoid(self.f(x.mean((2, 3))))[:, :, None, None]


def test_what_a_replacement_computes_is_not_taken_for_the_networks_products():
    network, batch = build(Outer), images()
    inner, outer = find_gates(network, SIZE)
    assert (inner.module, outer.module) == ("gate_block.inner", "gate_block")
    own = record(network, [inner, outer], batch)
    with GateRecorder(network, [inner, outer]) as recorder, intervene(network, {inner: Doubled()}):
        network(batch)
    assert torch.equal(recorder.gates[inner.name], own[inner.name] * 2)
    with torch.no_grad():
        pooled = (network.conv(batch) * own[inner.name][:, :, None, None] * 2).mean((2, 3))
        expected = torch.sigmoid(network.gate_block.f(pooled))
    torch.testing.assert_close(recorder.gates[outer.name], expected)


class OneGateTwoMaps(nn.Module):
    """One gate module, called once, multiplies two maps."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(channels, channels, 3, 1, 1), nn.Conv2d(channels, channels, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())

    def forward(self, x):
        gate = self.gate(x)
        return self.a(x) * gate + self.b(x) * gate


def test_one_gate_module_that_multiplies_two_maps():
    network, batch = build(OneGateTwoMaps), images()
    sites = find_gates(network, SIZE)
    gates = list(record(network, sites, batch).values())
    with torch.no_grad():
        x = network.conv(batch)
        expected = network.gate_block.gate(x)[:, :, 0, 0]
        half = (network.gate_block.a(x) * expected[:, :, None, None]).mean((2, 3))
    assert len(gates) == 2
    assert all(torch.equal(values, expected) for values in gates)
    with intervene(network, {sites[1]: Constant([0.0] * 8)}):
        torch.testing.assert_close(network(batch), half)


class TestThreads:
    def run_in_thread(self, function):
        found = []
        thread = threading.Thread(target=lambda: found.append(function()))
        thread.start()
        thread.join()
        return found[0]

    def test_a_pass_of_another_thread_is_neither_changed_nor_recorded(self):
        network, batch, other = build(networks.Functional), images(), images(3)
        (site,) = find_gates(network, SIZE)
        with torch.no_grad():
            plain = network(other)
        with GateRecorder(network, [site]) as recorder, intervene(network, {site: Constant([0.0] * 8)}):
            assert torch.equal(network(batch), torch.zeros(2, 8))
            assert torch.equal(self.run_in_thread(lambda: network(other)), plain)
            assert torch.equal(recorder.gates[site.name], torch.zeros(2, 8))

    def test_threads_change_their_own_passes_at_the_same_time(self):
        network, batch = build(networks.Functional), images()
        (site,) = find_gates(network, SIZE)
        with torch.no_grad():
            mean = network.conv(batch).mean((2, 3))
        barrier, found = threading.Barrier(4), {}

        def change(value):
            with intervene(network, {site: Constant([value] * 8)}), GateRecorder(network, [site]) as recorder:
                for _ in range(5):
                    barrier.wait()
                    found[value] = network(batch), recorder.gates[site.name]

        threads = [threading.Thread(target=change, args=(value,)) for value in (0.0, 0.25, 0.5, 1.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        for value, (output, gates) in found.items():
            torch.testing.assert_close(output, mean * value)
            assert bool((gates == value).all())
        assert count_hooks(network) == 0


@pytest.mark.parametrize("make", [lambda n, s: GateRecorder(n, s), lambda n, s: intervene(n, {s[0]: Identity()})])
def test_entering_twice_is_refused_and_leaves_no_hooks(make):
    network = build(networks.Functional)
    sites = find_gates(network, SIZE)
    follower = make(network, sites)
    with follower:
        before = count_hooks(network)
        with pytest.raises(SeProbeError, match=r"is already in use.*leave its with block"):
            follower.__enter__()
        assert count_hooks(network) == before
        network(images())
    assert count_hooks(network) == 0
    with follower:
        network(images())
    assert count_hooks(network) == 0


class TestInterrupts:
    @pytest.fixture(params=[networks.Functional, Outer])
    def stopping(self, request, monkeypatch):
        """A network that is interrupted in its next pass, and its sites."""
        network = build(request.param)
        sites = find_gates(network, SIZE)
        layer = network.gate_block.fc1 if request.param is networks.Functional else network.gate_block.f
        forward, calls = layer.forward, []

        def interrupt(x):
            calls.append(1)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return forward(x)

        monkeypatch.setattr(layer, "forward", interrupt)
        return network, sites

    def test_nothing_is_left_of_a_recorder_and_an_intervention(self, stopping):
        network, sites = stopping
        state = {name: value.clone() for name, value in network.state_dict().items()}
        with (
            pytest.raises(KeyboardInterrupt),
            intervene(network, {site: Identity() for site in sites}),
            GateRecorder(network, sites, ["original", "logit", "squeeze", "feature"]),
        ):
            network(images())
        assert count_hooks(network) == 0
        assert torch._C._len_torch_dispatch_stack() == 0
        assert torch.is_grad_enabled()
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())

    def test_the_block_can_go_on(self, stopping):
        network, sites = stopping
        with torch.no_grad(), GateRecorder(network, sites, ["logit"]) as recorder:
            with pytest.raises(KeyboardInterrupt):
                network(images())
            with pytest.raises(SeProbeError, match="was interrupted"):
                network(images())
            batch = images()
            network(batch)
            gates = recorder.gates
        expected = record(network, sites, batch)
        assert all(torch.equal(gates[name], values) for name, values in expected.items())
        assert torch._C._len_torch_dispatch_stack() == 0


def test_an_intervention_that_met_no_pass_says_so():
    network = build(networks.Functional)
    sites = find_gates(network, SIZE)
    with (
        pytest.raises(SeProbeError, match="no pass in it has reached SE_1_1"),
        intervene(network, {sites[0]: Identity()}),
    ):
        pass
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("own", [Scale(1.0), None])
def test_recorders_and_interventions_that_change_nothing_leave_the_output_bit_for_bit(own):
    for kind, *_ in WRITTEN:
        network, batch = build(kind), images(2)
        (site,) = find_gates(network, SIZE)
        with torch.no_grad():
            plain = network(batch)
        gates = record(network, [site], batch)[site.name]
        replacement = own or PerLabel(gates.numpy(), ["a", "b"])
        with intervene(network, {site: replacement}) as doing, GateRecorder(network, [site], ["feature"]):
            doing.labels = ["a", "b"]
            assert torch.equal(network(batch), plain)
