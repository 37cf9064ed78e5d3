import pytest
import torch

from se_probe.errors import SeProbeError
from se_probe.folding import fold_gates
from se_probe.gates import GateRecorder, find_gates
from se_probe.gates.chosen import choose_sites
from tests.gates import networks
from tests.gates.test_discovery import SIZE, build
from tests.gates.test_recorder import record


@pytest.fixture
def network():
    network = build(networks.CalledTwice)
    network.pretrained_cfg = {"input_size": SIZE}
    return network


def test_all_sites_are_found_where_none_are_given(network):
    batch = torch.randn(2, *SIZE)
    with torch.no_grad(), GateRecorder(network) as recorder:
        network(batch)
    expected = record(network, find_gates(network, SIZE), batch)
    assert list(recorder.gates) == list(expected) == ["SE_1_1", "SE_1_2"]
    assert all(torch.equal(recorder.gates[name], values) for name, values in expected.items())


def test_names_and_sites_may_be_mixed(network):
    first, second = find_gates(network, SIZE)
    assert choose_sites(network, ["SE_1_2", first]) == [second, first]
    assert choose_sites(network, [second]) == [second]
    with torch.no_grad(), GateRecorder(network, ["SE_1_2"]) as recorder:
        network(torch.randn(2, *SIZE))
    assert list(recorder.gates) == ["SE_1_2"]


def test_the_example_input_is_that_of_the_dry_pass(network):
    del network.pretrained_cfg
    assert choose_sites(network, ["SE_1_1"], input_size=SIZE) == find_gates(network, SIZE)[:1]


def test_an_unknown_name_is_refused_with_near_names(network):
    with pytest.raises(SeProbeError, match=r"no site 'SE_1_3'; did you mean SE_1_\d or SE_1_\d\?"):
        GateRecorder(network, ["SE_1_3"])
    with pytest.raises(SeProbeError, match=r"no site 'layer4'; expected some of SE_1_1, SE_1_2"):
        choose_sites(network, ["layer4"])


def test_folding_takes_names(network):
    network = build(networks.Functional)
    network.pretrained_cfg = {"input_size": SIZE}
    folded = fold_gates(network, {"SE_1_1": torch.full((8,), 0.5)}, torch.randn(3, *SIZE))
    assert folded.fixed == ["SE_1_1"]
