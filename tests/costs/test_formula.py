"""The paper's formula, and sweeps of r against networks that are built with that r."""

import re
from dataclasses import replace

import pytest
import timm
import torch

from se_probe.costs import network_cost, reduction_sweep
from se_probe.costs.network_cost import formula_parameters
from se_probe.errors import SeProbeError
from se_probe.gates import find_gates
from tests.costs import networks as hidden
from tests.costs.test_network_cost import SIZE, build, measured
from tests.gates import networks


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
    message = "a reduction ratio of 0 was asked for; expected numbers of at least 1."
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        reduction_sweep(measured(build(networks.Functional)), [4, 0])
