"""Changing one module's forward: the factor becomes a buffer, and what computed it goes."""

import pytest
import torch
from torch import nn

from se_probe.folding.rebuild import RebuildError, build, with_fixed_gates
from tests.gates.networks import Functional, InPlaceProduct, Stem

FIXED = {"node": "mul", "operand": 1, "buffer": "fixed_gate_0", "shape": [1, 8, 1, 1], "dtype": "float64"}


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Functional().double().eval()


def test_a_buffer_takes_the_place_of_the_factor(module):
    fixed = with_fixed_gates(module, [FIXED])
    fixed.fixed_gate_0 = torch.arange(8.0, dtype=torch.float64).reshape(1, 8, 1, 1)
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    assert torch.equal(fixed(x), x * torch.arange(8.0, dtype=torch.float64)[:, None, None])
    assert list(fixed.state_dict()) == ["fixed_gate_0"]
    assert not fixed.training


def test_the_given_module_is_not_changed(module):
    names = list(module.state_dict())
    with_fixed_gates(module, [FIXED])
    assert list(module.state_dict()) == names
    assert not hasattr(module, "fixed_gate_0")


def test_without_the_product_nothing_is_left(module):
    assert isinstance(with_fixed_gates(module, [{**FIXED, "buffer": None}]), nn.Identity)


def test_children_that_are_still_used_are_the_same_ones():
    stem = Stem(Functional()).eval()
    stem.gate_block.forward = None  # never called: children stay as they are
    graph_module = with_fixed_gates(stem, [])
    assert graph_module.conv is stem.conv
    assert graph_module.gate_block is stem.gate_block


def test_an_in_place_product_stays_in_place():
    fixed = with_fixed_gates(InPlaceProduct().eval(), [{**FIXED, "node": "mul_", "dtype": "float32"}])
    fixed.fixed_gate_0 = torch.full((1, 8, 1, 1), 2.0)
    x = torch.ones(2, 8, 4, 4)
    assert fixed(x) is x
    assert torch.equal(x, torch.full_like(x, 2))


def test_a_product_that_is_not_there(module):
    with pytest.raises(RebuildError, match=r"^the forward of Functional has no product 'mul_7' to change$"):
        with_fixed_gates(module, [{**FIXED, "node": "mul_7"}])


def test_only_model_constructors_are_run():
    with pytest.raises(RebuildError, match=r"^the network was built by os\.system, which is not run on the word of"):
        build({"source": "file", "spec": "os.system", "name": "x"})
