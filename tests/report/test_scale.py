"""The section on scale has the numbers of the run's tests, and none where there is no scale experiment."""

import json

import numpy as np
import pytest

from se_probe.analysis.scale import image_values
from se_probe.analysis.shifts import overall_shifts, shift_tests
from se_probe.figures.run_figures import SCALE_FIGURES
from se_probe.report.scale import scale_section
from se_probe.runs.artifacts import Artifacts
from tests.analysis.scaled import KernelSite, ScaledStandIn

FACTS = {"scales": {"factors": [1.0, 2.0], "method": "enlarged by central crop and resize"}, "warnings": ["some blur"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(1)
    base = rng.uniform(0.3, 0.6, (40, 5))
    sites = [KernelSite("SE_2_1", 2, 1, 5), KernelSite("SE_3_1", 3, 1, 5)]
    moved = {"SE_2_1": 0.05, "SE_3_1": 0.0}
    runs = {
        scale: ScaledStandIn(sites, ["pug"] * 40, {name: base + by * scale for name, by in moved.items()})
        for scale in (1.0, 2.0)
    }
    tests = shift_tests(image_values(runs))
    artifacts = Artifacts(folder / "scale")
    artifacts.tables({"scale_tests.csv": tests})
    artifacts.facts(FACTS)
    (folder / "scale" / "figures").mkdir()
    (folder / "scale" / "figures" / "scale_response.svg").write_text("<svg/>")
    return folder, overall_shifts(tests)


def test_a_run_without_a_scale_experiment_has_no_section(tmp_path):
    assert scale_section(tmp_path) is None


def test_the_section_says_what_was_tested_and_found(run):
    folder, tests = run
    section = scale_section(folder)
    assert section.summary == ("From 1× to 2× gates open at 1 of 2 sites and close at 0; no shift is found at 1.",)
    assert section.words[0].startswith("The same images at 1×, 2×, enlarged by central crop and resize; ")
    assert section.words[1] == "Some blur."
    rows = {row[0].text: [cell.text for cell in row] for row in section.table.rows}
    assert rows["SE_2_1"][1] == tests["verdict"].iloc[0] == "opens"
    effect, low, high = tests.loc[0, ["effect", "ci_low", "ci_high"]]
    assert rows["SE_2_1"][2] == f"{effect:+.3f} [{low:+.3f}, {high:+.3f}]"
    assert rows["SE_3_1"][2] == "+0.000 [+0.000, +0.000]"
    assert "Kernels" not in [name for name, _ in section.table.common]
    (figure,) = section.figures
    assert figure.title == SCALE_FIGURES["scale_response"].title
    assert figure.files == {"svg": "scale/figures/scale_response.svg"}


@pytest.mark.parametrize("facts", ["no JSON", "[]", json.dumps({"scales": {}}), json.dumps({**FACTS, "warnings": 3})])
def test_a_damaged_run_has_no_section(run, tmp_path, facts):
    (tmp_path / "scale" / "tables").mkdir(parents=True)
    table = "tables/scale_tests.csv"
    (tmp_path / "scale" / table).write_bytes((run[0] / "scale" / table).read_bytes())
    (tmp_path / "scale" / "run.json").write_text(facts)
    assert scale_section(tmp_path) is None
