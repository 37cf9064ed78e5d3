import copy

import numpy as np
import pytest
import timm
import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import (
    Branch,
    Constant,
    GateRecorder,
    Identity,
    PerLabel,
    Scale,
    Shuffle,
    find_gates,
    intervene,
)
from tests.gates import networks
from tests.gates.test_discovery import SIZE, WRITTEN, build
from tests.gates.test_recorder import count_hooks, record

KINDS = [row[0] for row in WRITTEN]
ARCHITECTURES = [
    "legacy_seresnet18",
    "seresnet50",
    "skresnet18",
    "skresnext50_32x4d",
    "resnest14d",
    "ecaresnet26t",
    "mobilenetv3_small_100",
    "efficientnet_b0",
    "regnety_004",
    "ghostnet_100",
    "ese_vovnet19b_dw",
    "lcnet_050",
    "eca_nfnet_l0",
    "convnextv2_atto",
]


def images(number: int) -> torch.Tensor:
    """Images of different brightness, so that their gates differ however small the network."""
    return torch.randn(number, *SIZE) + torch.linspace(-2, 2, number)[:, None, None, None]


def plain(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(batch)


def changed(network, replacements, batch, labels=None) -> torch.Tensor:
    with intervene(network, replacements) as intervention:
        intervention.labels = labels
        return network(batch)


def living(architecture: str) -> nn.Module:
    """A network whose blocks all matter: what starts at zero would hide what is done to the gates."""
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=10).eval()
    for parameter in network.parameters():
        if parameter.detach().abs().max() < 1e-3:
            nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_the_gates_own_values_change_nothing(kind):
    network, batch = build(kind), images(3)
    (site,) = find_gates(network, SIZE)
    gates = record(network, [site], batch)[site.name]
    before = plain(network, batch)
    assert torch.equal(changed(network, {site: Scale(1.0)}, batch), before)
    own = PerLabel(gates.numpy(), ["a", "b", "c"])
    assert torch.equal(changed(network, {site: own}, batch, ["a", "b", "c"]), before)
    assert not torch.equal(changed(network, {site: own}, batch, ["b", "c", "a"]), before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_gates_own_values_change_nothing_in_timm_networks(architecture):
    network, batch = living(architecture), torch.randn(2, 3, 64, 64)
    sites = find_gates(network, (3, 64, 64))
    for memory_format in (torch.contiguous_format, torch.channels_last):
        network, batch = network.to(memory_format=memory_format), batch.to(memory_format=memory_format)
        before, gates = plain(network, batch), record(network, sites, batch)
        own = {site: PerLabel(gates[site.name].numpy(), ["a", "b"]) for site in sites}
        assert torch.equal(changed(network, own, batch, ["a", "b"]), before)
    assert not torch.allclose(changed(network, {sites[-1]: Scale(0.5)}, batch), before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_output_is_the_feature_map_times_the_new_gate(kind):
    """In closed form: the block's output is the sum over branches of feature map times gate."""
    network, batch = build(kind), images(3)
    (site,) = find_gates(network, SIZE)
    gate = np.random.default_rng(0).uniform(0, 1, (site.branches, site.channels)).astype(np.float32)
    with torch.no_grad():
        feature_map = network.conv(batch)
        if site.family == "SK":
            branches = [network.gate_block.small(feature_map), network.gate_block.large(feature_map)]
        elif site.family == "split attention":
            branches = network.gate_block.conv(feature_map).split(8, dim=1)
        else:
            branches = [feature_map]
    wanted = sum(b * torch.from_numpy(g)[:, None, None] for b, g in zip(branches, gate, strict=True)).mean((2, 3))
    output = changed(network, {site: Constant(gate if site.branches > 1 else gate[0])}, batch)
    torch.testing.assert_close(output, wanted, rtol=1e-5, atol=1e-6)
    as_tensor = torch.from_numpy(gate if site.branches > 1 else gate[0]).requires_grad_()
    assert torch.equal(changed(network, {site: Constant(as_tensor)}, batch), output)
    neutral = sum(branches) / len(branches)
    torch.testing.assert_close(changed(network, {site: Identity()}, batch), neutral.mean((2, 3)), rtol=1e-5, atol=1e-6)


def test_a_known_gate_gives_a_known_change_of_the_logits():
    """Linear from the gate on: the logits change by W (pooled feature map × (new gate − gate))."""

    class Classifier(networks.Stem):
        def __init__(self) -> None:
            super().__init__(networks.Functional())
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            return self.head(super().forward(x))

    torch.manual_seed(0)
    network, batch = Classifier().eval().double(), torch.randn(4, *SIZE, dtype=torch.float64)
    (site,) = find_gates(network, SIZE)
    gate, new = record(network, [site], batch)[site.name].numpy(), np.linspace(0, 1, 8)
    with torch.no_grad():
        pooled = network.conv(batch).mean((2, 3)).numpy()
    change = (pooled * (new - gate)) @ network.head.weight.detach().numpy().T
    found = changed(network, {site: Constant(new)}, batch) - plain(network, batch)
    np.testing.assert_allclose(found.numpy(), change, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("architecture", "path", "neutral"),
    [
        ("seresnet50", "layer4.2.se", None),
        ("legacy_seresnet18", "layer4.1.se_module", None),
        ("efficientnet_b0", "blocks.5.1.se", None),
        ("regnety_004", "s4.b2.se", None),
        ("ecaresnet26t", "layer4.1.se", None),
        ("skresnet18", "layer4.1.conv1.attn", lambda x: x.new_full((len(x), 2, 512, 1, 1), 0.5)),
        ("resnest14d", "layer4.0.conv2.rsoftmax", lambda x: x.new_full((len(x), x[0].numel()), 0.5)),
    ],
)
def test_identity_equals_a_network_whose_gate_was_taken_out_by_hand(architecture, path, neutral):
    network, batch = living(architecture), torch.randn(2, 3, 64, 64)
    by_hand = copy.deepcopy(network)
    module = by_hand.get_submodule(path)
    module.forward = (lambda x: x) if neutral is None else neutral
    parent = path.rpartition(".")[0] if neutral else path
    sites = [site for site in find_gates(network, (3, 64, 64)) if site.module == parent]
    assert len(sites) == 1
    assert torch.equal(changed(network, {sites[0]: Identity()}, batch), plain(by_hand, batch))


def test_later_gates_follow_the_changed_features():
    network, batch = living("legacy_seresnet18"), torch.randn(2, 3, 64, 64)
    first, *_, last = sites = find_gates(network, (3, 64, 64))
    before = record(network, sites, batch)
    with intervene(network, {first: Identity()}), GateRecorder(network, [last]) as recorder:
        network(batch)
    assert not torch.equal(recorder.gates[last.name], before[last.name])


def test_sites_may_be_named():
    network, batch = build(networks.Functional), images(2)
    network.pretrained_cfg = {"input_size": SIZE}
    (site,) = find_gates(network, SIZE)
    assert torch.equal(changed(network, {"SE_1_1": Scale(0.25)}, batch), changed(network, {site: Scale(0.25)}, batch))
    with pytest.raises(SeProbeError, match=r"^the network has no site 'SE_9_9'; expected some of SE_1_1\.$"):
        intervene(network, {"SE_9_9": Identity()})


def test_shared_modules_are_told_apart():
    for kind in (networks.SharedActivation, networks.CalledTwice):
        network, batch = build(kind), images(2)
        first, second = find_gates(network, SIZE)
        gates = record(network, [first, second], batch)
        zero = changed(network, {second: Constant(np.zeros(8))}, batch)
        assert torch.equal(zero, torch.zeros_like(zero))
        with intervene(network, {second: Constant(np.zeros(8))}), GateRecorder(network, [first]) as recorder:
            network(batch)
        assert torch.equal(recorder.gates[first.name], gates[first.name])


class TestShuffle:
    def test_of_one_image_is_the_identity(self):
        network, batch = build(networks.Functional), images(1)
        sites = find_gates(network, SIZE)
        assert torch.equal(changed(network, {sites[0]: Shuffle()}, batch), plain(network, batch))

    @pytest.mark.parametrize("kind", [networks.Functional, networks.RadixSplitByHand])
    def test_gives_every_image_the_whole_gate_of_one_other(self, kind):
        network, batch = build(kind), images(6)
        (site,) = find_gates(network, SIZE)
        gates = record(network, [site], batch)[site.name]
        order = torch.randperm(6, generator=torch.Generator().manual_seed(3)).tolist()
        names = [str(number) for number in range(6)]
        donors = PerLabel(gates.numpy(), names)
        expected = changed(network, {site: donors}, batch, [names[place] for place in order])
        assert torch.equal(changed(network, {site: Shuffle(seed=3)}, batch), expected)

    def test_every_pass_has_its_own_permutation(self):
        network, batch = build(networks.Functional), images(8)
        sites = find_gates(network, SIZE)
        with intervene(network, {sites[0]: Shuffle()}):
            first, second = network(batch), network(batch)
        assert not torch.equal(first, second)
        assert torch.equal(changed(network, {sites[0]: Shuffle()}, batch), first)


def test_one_branch_alone():
    network, batch = build(networks.SelectiveKernelByHand), images(3)
    (site,) = find_gates(network, SIZE)
    with torch.no_grad():
        alone = network.gate_block.large(network.conv(batch)).mean((2, 3))
    torch.testing.assert_close(changed(network, {site: Branch(1)}, batch), alone, rtol=0, atol=0)


def test_the_mean_of_a_constant_gate_is_the_gate():
    network, batch = build(networks.Functional), images(3)
    nn.init.zeros_(network.gate_block.fc2.weight)
    (site,) = find_gates(network, SIZE)
    mean = record(network, [site], batch)[site.name].double().mean(0)
    assert torch.equal(changed(network, {site: Constant(mean.numpy())}, batch), plain(network, batch))


def test_half_precision_and_inference_mode():
    network, batch = build(networks.Functional).bfloat16(), torch.randn(2, *SIZE).bfloat16()
    (site,) = find_gates(network, SIZE)
    with torch.inference_mode():
        output = changed(network, {site: Constant(np.full(8, 0.5))}, batch)
        expected = (network.conv(batch) * 0.5).mean((2, 3))
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected)


def test_passes_run_without_the_gradients_of_the_untouched_network():
    network, batch = build(networks.Functional), images(2)
    (site,) = find_gates(network, SIZE)
    assert not changed(network, {site: Identity()}, batch).requires_grad
    assert torch.is_grad_enabled()
    assert network(batch).requires_grad


class TestRestores:
    @pytest.mark.parametrize("kind", [networks.Functional, networks.OverwrittenGate, networks.RadixSplitByHand])
    def test_everything_on_exit_and_after_an_exception(self, kind):
        network, batch = build(kind), images(2)
        (site,) = find_gates(network, SIZE)
        before, state = plain(network, batch), copy.deepcopy(network.state_dict())
        with intervene(network, {site: Identity()}):
            assert count_hooks(network) > 0
            network(batch)
        with pytest.raises(RuntimeError), intervene(network, {site: Identity()}):
            network(torch.randn(2, 4, 32, 32))
        assert count_hooks(network) == 0
        assert torch._C._len_torch_dispatch_stack() == 0
        assert torch.is_grad_enabled()
        assert torch.equal(plain(network, batch), before)
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())

    def test_after_an_interrupt_inside_the_gate(self, monkeypatch):
        network = build(networks.Functional)
        sites = find_gates(network, SIZE)

        def interrupt(_x):
            raise KeyboardInterrupt

        monkeypatch.setattr(network.gate_block.fc1, "forward", interrupt)
        with pytest.raises(KeyboardInterrupt), intervene(network, {sites[0]: Identity()}):
            network(images(2))
        assert count_hooks(network) == 0
        assert torch._C._len_torch_dispatch_stack() == 0
        assert torch.is_grad_enabled()


class TestRefuses:
    @pytest.fixture
    def network(self):
        return build(networks.Functional)

    @pytest.fixture
    def site(self, network):
        return find_gates(network, SIZE)[0]

    def test_a_pass_that_takes_another_way(self):
        network = build(networks.Undecided)
        (site,) = find_gates(network, SIZE)
        network.gate_block.skip = True
        message = r"another path than the dry pass .*: the module of SE_1_1 made 0 products, not 1; nothing of it is"
        with pytest.raises(SeProbeError, match=message):
            changed(network, {site: Identity()}, images(2))

    def test_gates_of_another_shape(self, network, site):
        message = (
            r"^SE_1_1 has gates of shape \(8,\), and gates of shape \(2, 8\) were given for it \(1 of them for 1 "
            r"labels\); pass those of this site\.$"
        )
        with pytest.raises(SeProbeError, match=message):
            intervene(network, {site: Constant(np.ones((2, 8)))})

    def test_a_branch_that_is_not_there(self, network, site):
        message = r"^branch 1 alone was requested at SE_1_1, but it has no branches; choose another branch or site\.$"
        with pytest.raises(SeProbeError, match=message):
            intervene(network, {site: Branch(1)})
        selective = build(networks.SelectiveKernelByHand)
        with pytest.raises(SeProbeError, match=r"^branch 2 alone was .* but its branches are 0 to 1; choose"):
            intervene(selective, {find_gates(selective, SIZE)[0]: Branch(2)})

    def test_labels_that_are_missing_or_unknown(self, network, site):
        by_class = PerLabel(np.ones((2, 8)), ["goldfish", "pug"])
        batch = images(2)
        message = (
            r"^the gates of SE_1_1 depend on labels, and the batch has none; set the intervention's `labels` before "
            r"the forward pass\.$"
        )
        with pytest.raises(SeProbeError, match=message):
            changed(network, {site: by_class}, batch)
        message = r"^no gates were given for the label 'cliff' at SE_1_1; expected one of 2, such as 'goldfish'\.$"
        with pytest.raises(SeProbeError, match=message):
            changed(network, {site: by_class}, batch, ["goldfish", "cliff"])

    def test_training_mode_and_wrappers(self, network, site):
        with pytest.raises(SeProbeError, match="wrapped in DataParallel"):
            intervene(nn.DataParallel(network), {site: Identity()}).__enter__()
        network.train()
        with pytest.raises(SeProbeError, match="the network is in training mode"):
            intervene(network, {site: Identity()}).__enter__()
