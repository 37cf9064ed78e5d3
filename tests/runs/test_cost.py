"""Costs from the name of a network to files, through the Python API."""

import json
import re

import pandas as pd
import pytest
import timm

import se_probe
from se_probe.errors import SeProbeError


def test_a_network_by_name_with_files(tmp_path):
    report = se_probe.cost("legacy_seresnet18", input_size=64, time=False, out=tmp_path)
    network = timm.create_model("legacy_seresnet18")
    assert report.cost.parameters == sum(item.numel() for item in network.parameters())
    assert report.cost.input_size == (3, 64, 64)
    assert report.run_time is None
    kinds = ("png", "pdf", "svg", "csv")
    stems = [f"figures/cost_by_{what}.{kind}" for what in ("site", "reduction") for kind in kinds]
    assert [path.relative_to(tmp_path).as_posix() for path in report.files] == [*stems, "cost.json"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / stems[3]), report.table())
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / stems[7]), report.sweep)
    facts = json.loads((tmp_path / "cost.json").read_text())
    assert facts == report.to_dict()
    assert facts["sites"][0]["site"] == "SE_2_1"
    assert [row["reduction"] for row in facts["sweep"]] == [4, 8, 16, 32]


def test_a_network_in_memory_with_time():
    network = timm.create_model("skresnet18")
    report = se_probe.cost(network, input_size=(3, 64, 48), time_by="stage", rounds=15, progress=False)
    assert (report.name, report.cost.input_size) == ("ResNet", (3, 64, 48))
    groups = ["all", "stage 2", "stage 3", "stage 4", "stage 5"]
    keys = [(share.sites, share.replaced) for share in report.run_time.shares]
    assert keys == [(name, what) for name in groups for what in ("gate", "gate and product")]
    assert network.training
    facts = report.to_dict()
    assert facts["sweep"] == []
    assert facts["sites"][0]["formula_parameters"] is None
    json.dumps(facts)
    sentences = report.sentences()
    assert sentences[3] == "(2/r) Σ C²: no site has it (gates over branches have other layers)"
    assert sentences[4].startswith("no sweep of r: ")
    timed = r"^run time of 1 image [\d.]+ ms, replayed [\d.]+ ms \(cpu, \d+ threads, median of 15 rounds\)$"
    assert re.match(timed, sentences[5])
    assert sentences[6].startswith("computing the gates takes ")
    assert sentences[8].startswith("stage 2: computing the gates takes ")
    assert len(sentences) == 6 + 2 * len(groups)


def test_sentences_of_the_senet_paper():
    report = se_probe.cost("legacy_seresnet50", time=False)
    assert report.sentences() == [
        "parameters 28,088,024, of which gates 2,530,992 (+9.90 % on those without)",
        "multiply-adds 3.858 G without gates, 3.860 G with excitation (+0.07 %), 3.872 G with squeeze and scale "
        "counted too (+0.35 %)",
        "gates: squeeze 5,519,360 additions, excitation 2,514,944 multiply-adds, scale 5,519,360 multiplications; "
        "for one image of 3×224×224",
        "(2/r) Σ C² over all sites: 2,514,944 parameters; counted there 2,530,992",
    ]


def test_the_demo_is_labelled(tmp_path):
    se_probe.cost("demo:sa", time=False, out=tmp_path)
    assert "demo stimuli, not photographs" in (tmp_path / "figures" / "cost_by_site.svg").read_text()
    assert not (tmp_path / "figures" / "cost_by_reduction.svg").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "--batch-size 0 was given; expected a whole number from 1 to 100,000."),
        ({"reductions": [0]}, "--reductions 0 was given; expected a whole number from 1 to 1,000,000."),
        ({"reductions": [4.5]}, "--reductions 4.5 was given; expected a whole number from 1 to 1,000,000."),
        ({"rounds": 3}, "--rounds 3 was given; expected a whole number from 15 to 100,000."),
        ({"time_by": "block"}, "--time-by block was given; expected one of all, stage, site."),
        ({"input_size": 0}, "--input-size 0 was given; expected a whole number from 1 to 65,536."),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        se_probe.cost("legacy_seresnet18", **options)


def test_a_device_for_a_network_in_memory():
    message = "the device 'cpu' was requested with a network in memory, which stays where it is; move the network there"
    with pytest.raises(SeProbeError, match=rf"^{re.escape(message)} first\.$"):
        se_probe.cost(timm.create_model("legacy_seresnet18"), device="cpu")


def test_a_network_without_gates():
    with pytest.raises(SeProbeError, match=r"^resnet18 has no gates: no feature map is multiplied "):
        se_probe.cost("resnet18", input_size=64)
