"""Costs against closed forms, the same network without its gates and published figures; sweeps of r against networks
that are built with that r."""

import copy
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from se_probe.costs import GateCost, cost_table, network_cost, reduction_sweep
from se_probe.costs.network_cost import formula_parameters
from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from tests.costs import networks as hidden
from tests.gates import networks

C, H = 8, 16
SIZE = (3, 32, 32)
MAP = C * H * H
# Two linear layers C to C / 2 to C, with biases.
LAYERS = 2 * C * (C // 2)
BIASES = C // 2 + C
SE = GateCost(parameters=LAYERS + BIASES, squeeze=MAP, excitation=LAYERS, scale=MAP)
CLOSED_FORMS = {
    networks.Functional: SE,
    networks.InPlaceProduct: SE,
    networks.OverwrittenGate: SE,
    networks.ChangedAfterModule: SE,
    networks.Einsum: SE,
    networks.HardSigmoidByHand: SE,
    networks.OnePlusTanh: SE,
    networks.ChannelsLast: SE,
    networks.GroupedGate: SE,
    networks.ChannelAndSpatial: SE,
    # Two sums over the map: of its two halves, and the pooling.
    hidden.ChunkedInPlace: GateCost(SE.parameters, 2 * MAP, LAYERS, MAP),
    hidden.BufferedGate: SE,
    hidden.ReusedBuffer: SE,
    hidden.RewrittenBuffer: SE,
    # C by 2 by C for the weights, then C by C for each image; the two linear layers are never called.
    hidden.LowRank: GateCost(2 * 2 * C, MAP, 2 * C * C + C * C, MAP),
    # What feeds the output too is not the gate's: the squeeze, the first layer.
    hidden.UsedElsewhere: GateCost(C // 2 * C + C, 0, C // 2 * C, MAP),
    # One convolution of three weights slides over C channels; the linear layers are never called.
    networks.Expanded: GateCost(parameters=4, squeeze=MAP, excitation=3 * C, scale=MAP),
    # C to C / 2, then to both branches; sum of branches and pooling; a product for each branch.
    networks.SelectiveKernelByHand: GateCost(
        C * C // 2 + C // 2 + C // 2 * 2 * C + 2 * C, 2 * MAP, C * C // 2 + C // 2 * 2 * C, 2 * MAP
    ),
    # C to 4 to 2 C; the loop of sum() adds the first split to 0, which is no sum of two maps.
    networks.RadixSplitByHand: GateCost(4 * C + 4 + 8 * C + 2 * C, 2 * MAP, 4 * C + 8 * C, 2 * MAP),
    networks.FlatRadix: GateCost(4 * C + 4 + 8 * C + 2 * C, 2 * MAP, 4 * C + 8 * C, 2 * MAP),
}


def build(kind):
    torch.manual_seed(0)
    return networks.Stem(kind()).eval()


def measured(network, size=SIZE):
    return network_cost(network, find_gates(network, size), size)


def counted_by_torch(network, size):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *size))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_closed_forms(kind):
    cost = measured(build(kind))
    assert cost.gates == CLOSED_FORMS[kind]
    assert cost.site_costs == (cost.gates,)
    assert cost.multiply_adds == counted_by_torch(build(kind), SIZE)
    assert cost.parameters == sum(item.numel() for item in build(kind).parameters())


def test_two_sites_with_layers_of_their_own_add_up():
    cost = measured(build(networks.SharedActivation))
    assert cost.site_costs == (SE, SE)
    assert cost.gates == GateCost(2 * SE.parameters, 2 * MAP, 2 * LAYERS, 2 * MAP)


@pytest.mark.parametrize("kind", [networks.CalledTwice, hidden.SharedLayers])
def test_layers_that_sites_share_are_in_the_total_alone(kind):
    cost = measured(build(kind))
    assert cost.site_costs == (GateCost(0, MAP, LAYERS, MAP),) * 2
    assert cost.gates == GateCost(SE.parameters, 2 * MAP, 2 * LAYERS, 2 * MAP)
    assert set(cost.table()["shared_parameters"]) == {SE.parameters}


def test_some_sites_alone():
    network = build(networks.SharedActivation)
    cost = network_cost(network, find_gates(network, SIZE)[1:], SIZE)
    assert cost.site_costs == (SE,)
    assert cost.gates == SE


class Normed(networks.Functional):
    """GRN's manner: a channel's norm over space, over the mean norm."""

    def forward(self, x):
        norm = x.norm(p=2, dim=(2, 3), keepdim=True)
        return x * (norm / (norm.mean(1, keepdim=True) + 1e-6))


def test_a_gate_without_layers():
    assert measured(build(Normed)).gates == GateCost(0, MAP + C, 0, MAP)


def without_modules(network, names):
    """The same network with the named modules replaced by nothing."""
    bare = copy.deepcopy(network)
    for path, _ in list(bare.named_modules()):
        if path.rpartition(".")[2] in names:
            bare.set_submodule(path, nn.Identity())
    return bare


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("legacy_seresnet18", {"se_module"}),
        ("seresnet18", {"se"}),
        ("ecaresnet26t", {"se"}),
        ("efficientnet_b0", {"se"}),
        ("mobilenetv3_small_100", {"se"}),
        ("regnety_002", {"se"}),
        ("seresnext26ts", {"attn"}),
        ("ese_vovnet19b_dw", {"attn"}),
    ],
)
def test_gate_paths_are_what_deleting_the_modules_takes_away(architecture, names):
    size = (3, 64, 64)
    network = timm.create_model(architecture).eval()
    bare = without_modules(network, names)
    cost = measured(network, size)
    assert cost.parameters_without == sum(item.numel() for item in bare.parameters())
    assert cost.multiply_adds_without == counted_by_torch(bare, size)
    assert cost.multiply_adds == counted_by_torch(network, size)


def test_selective_kernels_lose_their_attention_modules():
    network = timm.create_model("skresnet18").eval()
    cost = measured(network, (3, 64, 64))
    attention = [module for path, module in network.named_modules() if path.endswith(".attn")]
    assert cost.gates.parameters == sum(item.numel() for module in attention for item in module.parameters())
    layers = [part for module in attention for part in module.modules() if isinstance(part, nn.Conv2d)]
    assert cost.gates.excitation == sum(layer.weight.numel() for layer in layers)


def test_the_figures_of_the_senet_paper():
    """Section 4: 3.86 GFLOPs without and 3.87 with, about 2.5 million more parameters, about 10 %."""
    with torch.device("meta"):
        network = timm.create_model("legacy_seresnet50").eval()
    cost = measured(network, (3, 224, 224))
    channels = {256: 3, 512: 4, 1024: 6, 2048: 3}
    positions = {256: 56, 512: 28, 1024: 14, 2048: 7}
    weights = sum(2 * c * c * n // 16 for c, n in channels.items())
    elements = sum(c * n * positions[c] ** 2 for c, n in channels.items())
    assert weights == 2_514_944
    assert cost.formula_parameters == weights
    assert cost.gates == GateCost(
        weights + sum((c + c // 16) * n for c, n in channels.items()), elements, weights, elements
    )
    assert f"{cost.multiply_adds_without / 1e9:.2f}" == "3.86"
    assert f"{cost.operations / 1e9:.2f}" == "3.87"
    # The paper's 0.26 % is the quotient of these rounded figures.
    assert f"{100 * (3.87 / 3.86 - 1):.2f}" == "0.26"
    assert f"{100 * (cost.operations / cost.multiply_adds_without - 1):.2f}" == "0.35"
    assert f"{100 * cost.gates.parameters / cost.parameters_without:.1f}" == "9.9"


# Million parameters and GMACs in timm's results/benchmark-infer-amp-nchw-pt113-cu117-rtx3090.csv. Its counter, fvcore,
# adds two operations for each element that a batch norm reads, and one for each that is pooled.
TIMM = {
    "legacy_seresnet50": (224, 28.09, 3.88),
    "seresnet50": (224, 28.09, 4.11),
    "skresnext50_32x4d": (224, 27.48, 4.50),
    "resnest50d": (224, 27.48, 5.40),
    "ecaresnet50d": (224, 25.58, 4.35),
    "ecaresnet26t": (320, 16.01, 5.24),
    "efficientnet_b0": (224, 5.29, 0.40),
}


@pytest.mark.parametrize("architecture", TIMM)
def test_the_figures_of_timms_tables(architecture):
    side, parameters, gmacs = TIMM[architecture]
    with torch.device("meta"):
        network = timm.create_model(architecture).eval()
    cost = measured(network, (3, side, side))
    elements = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, args: elements.append(args[0].numel()))
    network(torch.zeros(1, 3, side, side, device="meta"))
    assert round(cost.parameters / 1e6, 2) == parameters
    assert cost.multiply_adds / 1e9 + 2 * sum(elements) / 1e9 == pytest.approx(gmacs, abs=0.0051)


def test_any_input_size():
    network = timm.create_model("legacy_seresnet18").eval()
    small, large = measured(network, (3, 64, 64)), measured(network, (3, 128, 96))
    assert large.gates.parameters == small.gates.parameters
    assert large.gates.excitation == small.gates.excitation
    assert large.gates.scale == large.gates.squeeze == small.gates.scale * 3
    assert large.input_size == (3, 128, 96)


def test_the_table_has_a_row_for_each_site():
    network = build(networks.SharedActivation)
    sites = find_gates(network, SIZE)
    table = cost_table(network, sites, SIZE)
    assert table["site"].tolist() == [site.name for site in sites]
    row = table.iloc[0]
    assert (row["parameters"], row["squeeze"], row["excitation"], row["scale"]) == (LAYERS + BIASES, MAP, LAYERS, MAP)
    assert (row["reduction"], row["formula_parameters"]) == (2, 2 * C * C / 2)
    assert row["network_parameters"] == sum(item.numel() for item in network.parameters())
    assert row["network_multiply_adds"] == counted_by_torch(network, SIZE)
    branches = cost_table(build(networks.FlatRadix), find_gates(build(networks.FlatRadix), SIZE), SIZE)
    assert math.isnan(branches["formula_parameters"][0])


def test_the_network_is_left_as_it_was():
    network = timm.create_model("legacy_seresnet18")
    network.layer1.eval()
    modes = [module.training for module in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    measured(network, (3, 64, 64))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()) == 0


def test_sites_of_another_network():
    network, other = build(networks.Functional), timm.create_model("legacy_seresnet18").eval()
    sites = find_gates(other, (3, 64, 64))
    message = (
        "this network never multiplies by the gate of site SE_2_2; pass the sites that find_gates returned for this "
        "network."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        network_cost(network, sites[1:], SIZE)


class Wrapped(networks.Functional):
    """Returns its output in an object of its own."""

    def forward(self, x):
        return SimpleNamespace(logits=super().forward(x))


def test_an_output_without_tensors():
    network = Wrapped(3)
    message = "Wrapped returns no tensor computed in the pass; expected a tensor, or tuples, lists or dicts of them."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        network_cost(network, find_gates(network, SIZE), SIZE)


def test_the_formula_of_a_site():
    (site,) = find_gates(build(networks.Functional), SIZE)
    assert formula_parameters(replace(site, channels=256, reduction=16.0)) == 2 * 256**2 / 16 == 8192
    assert formula_parameters(replace(site, reduction=None)) is None
    assert formula_parameters(replace(site, branches=2)) is None


@pytest.mark.parametrize("ratio", [4, 8, 32])
def test_a_sweep_foretells_networks_that_are_built_so(ratio):
    size = (3, 64, 64)
    sweep = reduction_sweep(measured(timm.create_model("legacy_seresnet18").eval(), size), [ratio, 16])
    built = measured(timm.create_model("legacy_seresnet18", reduction=ratio).eval(), size)
    row = sweep.iloc[0]
    assert row["reduction"] == ratio
    assert row["sites"] == 8
    assert row["parameters"] == built.parameters
    assert row["multiply_adds"] == built.multiply_adds
    assert row["gate_parameters"] == built.gates.parameters
    assert row["excitation"] == built.gates.excitation
    assert row["formula_parameters"] == built.formula_parameters
    assert row["parameters_increase"] == pytest.approx(built.parameters / built.parameters_without - 1)
    assert row["operations_increase"] == pytest.approx(built.operations / built.multiply_adds_without - 1)
    assert sweep["current"].tolist() == [False, True]


def test_the_reduction_ratios_of_the_senet_paper():
    """Table 10; its parameters hold the running statistics of batch norm too."""
    with torch.device("meta"):
        network = timm.create_model("legacy_seresnet50").eval()
    sweep = reduction_sweep(network_cost(network, find_gates(network), (3, 224, 224)))
    statistics = sum(item.numel() for name, item in network.named_buffers() if "running" in name)
    assert sweep["reduction"].tolist() == [4, 8, 16, 32]
    millions = (sweep["parameters"] + statistics) / 1e6
    assert [f"{value:.1f}" for value in millions] == ["35.7", "30.7", "28.1", "26.9"]
    assert sweep["formula_parameters"].tolist() == [40_239_104 / r for r in (4, 8, 16, 32)]


def test_layers_without_biases_are_swept_without():
    network = build(networks.Functional)
    network.gate_block.fc1.bias = network.gate_block.fc2.bias = None
    sweep = reduction_sweep(measured(network), [1, 4, 16])
    assert sweep["gate_parameters"].tolist() == [2 * 8 * 8, 2 * 8 * 2, 2 * 8 * 1]


def test_widths_are_whole_and_at_least_one():
    sweep = reduction_sweep(measured(build(networks.Functional)), [3, 100])
    assert sweep["excitation"].tolist() == [2 * 8 * 2, 2 * 8 * 1]
    assert sweep["formula_parameters"].tolist() == [2 * 64 / 3, 2 * 64 / 100]


@pytest.mark.parametrize(
    "kind", [networks.Expanded, networks.FlatRadix, networks.SelectiveKernelByHand, hidden.SharedLayers]
)
def test_other_gates_are_not_swept(kind):
    assert reduction_sweep(measured(build(kind))).empty


def test_a_ratio_below_one():
    message = "a reduction ratio of 0 was requested; expected numbers of at least 1."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        reduction_sweep(measured(build(networks.Functional)), [4, 0])
