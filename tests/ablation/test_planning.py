import pytest
import timm
import torch

from se_probe.ablation import plan_interventions
from se_probe.errors import SeProbeError
from se_probe.gates import find_gates


@pytest.fixture(scope="module")
def sites():
    with torch.device("meta"):
        return find_gates(timm.create_model("legacy_seresnet18").eval())


def test_each_site_the_last_ones_and_whole_stages(sites):
    planned = plan_interventions(sites)
    found = {(item.scope, item.name): item.site_names for item in planned}
    assert [name for scope, name in found if scope == "site"] == [site.name for site in sites]
    assert found["site", "SE_3_2"] == ("SE_3_2",)
    cumulative = [item for item in planned if item.scope == "cumulative"]
    assert [len(item.sites) for item in cumulative] == list(range(1, 9))
    assert found["cumulative", "from SE_4_2"] == ("SE_4_2", "SE_5_1", "SE_5_2")
    assert cumulative[-1].sites == tuple(sites)
    assert {name: names for (scope, name), names in found.items() if scope == "stage"} == {
        f"stage {stage}": (f"SE_{stage}_1", f"SE_{stage}_2") for stage in (2, 3, 4, 5)
    }


def test_named_sites_are_changed_at_once_and_in_network_order(sites):
    (planned,) = plan_interventions(sites, ["SE_5_2", "SE_2_1"])
    assert (planned.name, planned.scope, planned.site_names) == ("SE_2_1+SE_5_2", "sites", ("SE_2_1", "SE_5_2"))


def test_unknown_and_missing_names(sites):
    message = r"^there is no site 'SE_6_1' to intervene on; expected each, cumulative, stages, or some of SE_2_1, "
    with pytest.raises(SeProbeError, match=message):
        plan_interventions(sites, ["each", "SE_6_1"])
    message = r"^no sites to intervene on were given; expected each, cumulative, stages, or names of sites\.$"
    with pytest.raises(SeProbeError, match=message):
        plan_interventions(sites, [])
