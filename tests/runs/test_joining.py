"""A run that was recorded is joined: nothing is recorded again, the numbers are the same, the report shows them."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import se_probe
from se_probe.analysis.shifts import overall_shifts, scale_summary
from se_probe.cli import app
from se_probe.errors import SeProbeError
from tests.runs.noise import QUIET
from tests.told import told

FEW = {"per_class": 4, "reference_per_class": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joined") / "run"
    se_probe.excite("goldfish,pug,plane,cliff", demo=True, out=folder, **FEW, **QUIET)
    return folder


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_interventions_on_a_recorded_run_are_those_of_a_run_of_their_own(run, tmp_path):
    before = contents(run / "recording.zarr")
    paths = se_probe.open_recording(run).images["path"]
    pd.DataFrame({"path": paths, "number": range(len(paths))}).to_csv(tmp_path / "factors.csv", index=False)
    known = {"factors": tmp_path / "factors.csv"}
    joined = se_probe.ablate(run=run, replacement="mean", sites=["each"], **known, **QUIET)
    assert set(pd.read_csv(run / "tables" / "site_factors.csv")["factor"]) == {"number", "all factors"}
    assert contents(run / "recording.zarr") == before
    assert joined.path == run / "ablation.zarr"
    classes = "goldfish,pug,plane,cliff"
    own = se_probe.ablate(
        classes, demo=True, replacement="mean", sites=["each"], out=tmp_path / "own", report=False, **FEW, **QUIET
    )
    assert joined.images["path"].tolist() == own.images["path"].tolist()
    for name in ("nll", "kl", "top1", "agree"):
        np.testing.assert_allclose(joined.outcomes[name].values, own.outcomes[name].values, atol=1e-6)
    page = (run / "report.html").read_text()
    assert 'id="interventions"' in page
    assert json.loads((run / "run.json").read_text())["command"].startswith("se_probe.excite(")


def test_interventions_are_replaced_only_where_that_is_asked_for(run):
    se_probe.ablate(run=run, sites=["SE_5_3"], overwrite=True, report=False, **QUIET)
    with pytest.raises(SeProbeError, match=r"holds interventions already; replace them with --overwrite"):
        se_probe.ablate(run=run, sites=["SE_5_3"], report=False, **QUIET)
    again = se_probe.ablate(run=run, sites=["SE_5_1"], overwrite=True, report=False, **QUIET)
    assert again.interventions["sites"].tolist() == ["SE_5_1"]


def test_a_fold_is_in_the_report_of_the_run_that_it_joins(run):
    before = contents(run / "recording.zarr")
    result = CliRunner().invoke(app, ["fold", "--run", str(run), "--max-loss", "60", "--no-progress", "--workers", "0"])
    assert result.exit_code in (0, 3), result.output
    assert contents(run / "recording.zarr") == before
    sites = pd.read_csv(run / "fold" / "tables" / "fold_sites.csv")
    assert len(sites) == 9
    page = (run / "report.html").read_text()
    assert 'id="folding"' in page
    assert "allowed loss was 60 points" in page
    assert "<p>Folding: " in page  # a line of the summary
    (words,) = re.findall(r"(?m)^(?:folded|refused)    ?(.*)$", result.output)
    assert words
    assert "summary" not in result.output  # the run's own results are not news


def test_a_scale_experiment_is_in_the_folder_and_the_report_of_the_run_that_it_joins(run):
    before = contents(run / "recording.zarr")
    with told() as lines:
        found = se_probe.scale(run=run, scales=(1, 2), exact=True, **QUIET)
    assert contents(run / "recording.zarr") == before
    assert found.path == run / "scale"
    recording = se_probe.open_recording(run)
    assert found.base.provenance["data"]["selection_sha256"] == recording.provenance["data"]["selection_sha256"]
    for site in recording.sites:
        np.testing.assert_allclose(found.base.gates(site.name).values, recording.gates(site.name).values, atol=1e-5)
    page = (run / "report.html").read_text()
    assert 'id="scale"' in page
    assert 'href="scale/figures/scale_response.pdf"' in page
    assert (run / "scale" / "figures" / "scale_response.pdf").is_file()
    sentence = scale_summary(overall_shifts(found.tests)).sentences[0]
    assert page.count(sentence.replace("'", "&#39;")) == 2  # in the summary and in the section
    assert sum(sentence in line for line in lines) == 1
    with pytest.raises(SeProbeError, match="already holds a run"):
        se_probe.scale(run=run, **QUIET)


def test_costs_are_in_the_folder_and_the_report_of_the_run_that_they_join(run):
    done = CliRunner().invoke(app, ["cost", "--run", str(run), "--no-time", "--no-progress"])
    assert done.exit_code == 0, done.output
    facts = json.loads((run / "cost" / "cost.json").read_text())
    alone = se_probe.cost("demo:se", time=False)
    assert facts == alone.to_dict()
    page = (run / "report.html").read_text()
    assert 'id="cost"' in page
    assert 'href="cost/figures/cost_by_site.csv"' in page
    more = 100 * alone.cost.gates.parameters / (alone.cost.parameters - alone.cost.gates.parameters)
    assert page.count(f"The gates add +{more:.2f} % parameters") == 1
    assert [path.name for path in (run / "cost" / "figures").glob("*.csv")]


def test_costs_of_another_network_or_of_none_are_refused(run, tmp_path):
    with pytest.raises(SeProbeError, match=r"holds gates of demo:se at SE_3_1 .* and legacy_seresnet18 has no such"):
        se_probe.cost("legacy_seresnet18", run=run, input_size=64, time=False)
    with pytest.raises(SeProbeError, match="no network was given"):
        se_probe.cost(time=False)
    with pytest.raises(SeProbeError, match="both --run and --out were given"):
        se_probe.cost(run=run, out=tmp_path, time=False)


def test_neither_code_nor_a_folder_of_images_is_taken_from_a_recording(tmp_path, run):
    attributes = run / "recording.zarr" / ".zattrs"
    saved = attributes.read_text()
    facts = json.loads(saved)
    try:
        for part, expected in (
            ({"model": {"name": "evil.py:network", "source": "file"}}, r"evil\.py:network.*name it again with --model"),
            ({"model": {"name": "hf-hub:someone/network", "source": "hf-hub"}}, "name it again with --model"),
            ({"data": {"title": "images", "location": "/etc"}}, "images at /etc; name them again with --data"),
            ({"data": {"title": "wds/PIPE:touch x", "location": None}}, "name them again with --data"),
        ):
            changed = json.loads(saved)
            for group, values in part.items():
                changed["provenance"][group] |= values
            changed["provenance"]["demo"] = False
            attributes.write_text(json.dumps(changed))
            for verb in (se_probe.ablate, se_probe.fold, se_probe.scale):
                with pytest.raises(SeProbeError, match=expected):
                    verb(run=run, **QUIET)
    finally:
        attributes.write_text(json.dumps(facts))


def test_another_network_is_refused(run):
    with pytest.raises(SeProbeError, match=r"holds gates of demo:se with weights \w{12}, and the network is demo:sa"):
        se_probe.ablate(run=run, model="demo:sa", overwrite=True, **QUIET)
    with pytest.raises(SeProbeError, match="give the recorded network"):
        se_probe.fold(run=run, model="demo:sa", demo=True, overwrite=True, **QUIET)
