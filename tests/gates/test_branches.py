"""Cardinal groups of split attention, as timm builds it."""

import pytest

from se_probe.gates import find_gates
from se_probe.gates.branches import cardinality
from se_probe.models import load_model
from tests.gates.networks import Functional, Stem


@pytest.mark.parametrize(("name", "groups", "branches"), [("resnest50d_4s2x40d", 2, 4), ("resnest50d_1s4x24d", 4, 1)])
def test_groups_of_resnest(name, groups, branches):
    model = load_model(name, random_weights=True, model_args={"num_classes": 2, "layers": (1, 1, 1, 1)})
    site = find_gates(model.network, (3, 64, 64))[0]
    assert cardinality(model.network, site) == groups
    assert site.branches == branches


def test_unknown_where_the_gate_has_no_pointwise_convolution():
    network = Stem(Functional()).eval()
    site = find_gates(network, (3, 32, 32))[0]
    assert cardinality(network, site) is None
