import math
import re
import warnings

import pytest
import timm
import torch
import torchvision
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates import GateRecorder, discover, find_gates
from tests.gates import networks

SIZE = (3, 32, 32)
WRITTEN = [
    # class, family, branches, activation, tapped module
    (networks.Functional, "SE", 1, "sigmoid", "gate_block"),
    (networks.InPlaceProduct, "SE", 1, "sigmoid", "gate_block"),
    (networks.OverwrittenGate, "SE", 1, "sigmoid", "gate_block.sigmoid"),
    (networks.ChangedAfterModule, "SE", 1, "scaled sigmoid", "gate_block"),
    (networks.Einsum, "SE", 1, "sigmoid", "gate_block"),
    (networks.HardSigmoidByHand, "SE", 1, "hard-sigmoid", "gate_block"),
    (networks.OnePlusTanh, "other", 1, "scaled tanh", "gate_block"),
    (networks.ChannelsLast, "SE", 1, "sigmoid", "gate_block"),
    (networks.Expanded, "ECA", 1, "sigmoid", "gate_block"),
    (networks.GroupedGate, "SE", 1, "sigmoid", "gate_block"),
    (networks.SelectiveKernelByHand, "SK", 2, "softmax over branches", "gate_block"),
    (networks.RadixSplitByHand, "split attention", 2, "softmax over branches", "gate_block"),
    (networks.FlatRadix, "split attention", 2, "softmax over branches", "gate_block"),
]
# Counts of gates that a trial of the idea found (shared/FACTS.md), and zero for networks that have none.
COUNTS = {
    "legacy_seresnet50": 16,
    "seresnet50": 16,
    "legacy_senet154": 50,
    "skresnet18": 8,
    "skresnext50_32x4d": 16,
    "resnest14d": 4,
    "resnest50d_4s2x40d": 16,
    "ecaresnet26t": 8,
    "mobilenetv3_small_100": 9,
    "efficientnet_b0": 16,
    "regnety_004": 16,
    "ghostnet_100": 7,
    "ese_vovnet19b_dw": 4,
    "lcnet_050": 2,
    "semnasnet_075": 8,
    "repvgg_d2se": 48,
    "dm_nfnet_f0": 12,
    "eca_nfnet_l0": 12,
    "coatnet_0_rw_224": 5,
    "convnextv2_atto": 12,
    "resnet50": 0,
    "vit_tiny_patch16_224": 0,
}


def build(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return networks.Stem(kind()).eval()


@pytest.mark.parametrize("architecture", COUNTS)
def test_finds_every_gate_of_timm_architectures(architecture):
    # Building a RegNet calls torch.unique, which torch 2.10 does not have on the meta device.
    with torch.device("cpu" if architecture.startswith("regnet") else "meta"):
        network = timm.create_model(architecture).eval()
    assert len(discover(network).sites) == COUNTS[architecture]


@pytest.mark.parametrize("architecture", ["legacy_seresnet18", "skresnet18", "resnest14d", "lcnet_050", "ecaresnet26t"])
def test_meta_and_real_weights_tell_the_same(architecture):
    with torch.device("meta"):
        on_meta = find_gates(timm.create_model(architecture).eval())
    assert find_gates(timm.create_model(architecture).eval()) == on_meta


@pytest.mark.parametrize(("kind", "family", "branches", "activation", "tapped"), WRITTEN)
def test_finds_gates_however_they_are_written(kind, family, branches, activation, tapped):
    (site,) = find_gates(build(kind), SIZE)
    assert (site.family, site.branches, site.activation) == (family, branches, activation)
    assert (site.module, site.channels, site.stage, site.stride) == ("gate_block", 8, 1, 2)
    assert site.hook_point.module == tapped


@pytest.mark.parametrize("kind", [networks.NotGates, networks.CoordinateAttention])
def test_parameters_constants_activations_and_spatial_maps_are_no_gates(kind):
    assert discover(build(kind), SIZE).sites == ()


def test_spatial_maps_are_counted_and_named():
    discovery = discover(build(networks.ChannelAndSpatial), SIZE)
    assert [site.channels for site in discovery.sites] == [8]
    assert [(item.module, item.count) for item in discovery.spatial_maps] == [("gate_block", 1)]
    assert discover(build(networks.CoordinateAttention), SIZE).spatial_maps[0].count == 2


def test_the_paper_names_of_se_resnet_50():
    sites = find_gates(timm.create_model("legacy_seresnet50"))
    names = [
        f"SE_{stage}_{block}"
        for stage, depth in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True)
        for block in range(1, depth + 1)
    ]
    assert [site.name for site in sites] == names
    assert [site.channels for site in sites] == [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert [site.stride for site in sites] == [4] * 3 + [8] * 4 + [16] * 6 + [32] * 3
    assert {(site.family, site.activation, site.reduction) for site in sites} == {("SE", "sigmoid", 16)}
    assert sites[0].module == "layer1.0.se_module"


def test_a_gate_before_downsampling_is_named_after_its_block():
    sites = {site.name: site for site in find_gates(timm.create_model("resnest14d"))}
    assert list(sites) == ["SA_2_1", "SA_3_1", "SA_4_1", "SA_5_1"]
    assert [site.stride for site in sites.values()] == [4, 4, 8, 16]
    assert {(site.family, site.branches) for site in sites.values()} == {("split attention", 2)}


def test_branches_know_the_extent_of_their_kernels():
    # SKNet: 3x3, and 5x5 as a 3x3 with dilation 2.
    for network in (timm.create_model("skresnet18"), build(networks.SelectiveKernelByHand)):
        assert {site.kernels for site in find_gates(network, (3, 64, 64))} == {(3, 5)}
    plain = timm.create_model("skresnet18", block_args={"sk_kwargs": {"keep_3x3": False, "split_input": True}})
    assert {site.kernels for site in find_gates(plain, (3, 64, 64))} == {(3, 5)}
    assert {site.kernels for site in find_gates(timm.create_model("resnest14d"), (3, 64, 64))} == {()}
    assert find_gates(build(networks.Functional), SIZE)[0].kernels == ()


def test_radix_one_is_a_sigmoid():
    network = timm.create_model("resnest14d", block_args={"radix": 1, "avd": True, "avd_first": False})
    assert {(site.branches, site.activation) for site in find_gates(network)} == {(1, "sigmoid")}


def test_torchvision_gates():
    sites = find_gates(torchvision.models.mobilenet_v3_small())
    assert len(sites) == 9
    assert {(site.family, site.activation) for site in sites} == {("SE", "hard-sigmoid")}
    assert sites[0].module == "features.1.block.1"
    # avgpool, fc1 to 8 channels, ReLU, fc2 to 16 channels.
    assert (sites[0].channels, sites[0].reduction) == (16, 2)


def test_one_activation_for_two_blocks_and_one_module_called_twice():
    shared = find_gates(build(networks.SharedActivation), SIZE)
    assert [site.module for site in shared] == ["gate_block.first", "gate_block.second"]
    twice = find_gates(build(networks.CalledTwice), SIZE)
    assert [(site.name, site.module) for site in twice] == [("SE_1_1", "gate_block.se"), ("SE_1_2", "gate_block.se")]


def test_gates_that_do_not_move_are_still_gates():
    network = build(networks.Functional)
    for parameter in network.gate_block.parameters():
        nn.init.zeros_(parameter)
    assert len(find_gates(network, SIZE)) == 1


def test_the_network_is_left_as_it_was():
    network = timm.create_model("legacy_seresnet18")
    network.layer1.eval()
    modes = [module.training for module in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    find_gates(network)
    assert torch.rand(1) == expected
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()) == 0


def test_wrappers_are_unwrapped():
    network = timm.create_model("legacy_seresnet18").eval()
    expected = find_gates(network)
    assert find_gates(nn.DataParallel(network)) == expected
    assert find_gates(torch.compile(network)) == expected


def test_half_precision():
    network = timm.create_model("legacy_seresnet18").eval().to(torch.bfloat16)
    assert len(find_gates(network, (3, 64, 64))) == 8


def test_no_gates():
    message = (
        "ResNet has no gates: no feature map is multiplied by a factor that depends on the input and has channels "
        "but no spatial extent; choose a gated network (see se-probe models)."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        find_gates(timm.create_model("resnet18"), (3, 64, 64))


def test_a_dry_pass_that_fails_names_the_input_size():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(
        SeProbeError,
        match=r"Sequential with input \(2, 3, 4, 4\) failed.*does not take this size.*pass the input_size.*inputs=",
    ):
        find_gates(network, (3, 4, 4))


def test_a_scripted_network_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated in newer versions of torch
        scripted = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))
    with pytest.raises(
        SeProbeError,
        match=r"^the network is a scripted Conv2d, in which modules cannot be distinguished; "
        r"pass the Python network that it was scripted from\.$",
    ):
        find_gates(scripted)


def test_reduction_ratios_follow_the_narrowest_layer():
    sites = find_gates(timm.create_model("seresnet50", channels=(32, 64, 128, 256)), (3, 64, 64))
    # timm rounds the width of the squeeze layer C / 16 to a multiple of 8.
    widths = {site.channels: site.channels / site.reduction for site in sites}
    assert widths == {128: 8, 256: 16, 512: 32, 1024: 64}
    assert all(math.isclose(width % 1, 0) for width in widths.values())


def test_sites_are_in_network_order_and_unique():
    network = timm.create_model("repvgg_d2se", num_classes=3)
    sites = find_gates(network, (3, 64, 64))
    assert len({site.name for site in sites}) == len(sites) == 48
    with GateRecorder(network.eval(), sites) as recorder, torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    assert list(recorder.gates) == [site.name for site in sites]


class Guarded(networks.Functional):
    """Looks at one number of the whole batch on its way."""

    def forward(self, x):
        return super().forward(x) if x.sum() > -1e9 else x


def test_a_number_without_axes_on_the_way_is_no_obstacle():
    assert [site.name for site in find_gates(networks.Stem(Guarded()), (3, 16, 16))] == ["SE_1_1"]
