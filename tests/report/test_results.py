"""Sections have the numbers of their files, and there is none where files are missing or damaged."""

import json

import numpy as np
import pandas as pd
import pytest

import se_probe
from se_probe.analysis.effects import effect_tables
from se_probe.analysis.scale import image_values
from se_probe.analysis.shifts import overall_shifts, shift_tests
from se_probe.figures import EFFECT_FIGURES, SCALE_FIGURES
from se_probe.report.results import cost_section, effects_section, read_sections, scale_section
from se_probe.runs.artifacts import Artifacts, Drawn
from tests.analysis.effect_recording import with_effects
from tests.analysis.image_recording import ImageRecording
from tests.analysis.raw_recording import GateSite

FACTS = {"scales": {"factors": [1.0, 2.0], "method": "enlarged by central crop and resize"}, "warnings": ["some blur"]}


def test_a_run_without_further_results_has_no_section(tmp_path):
    assert read_sections(tmp_path) == []


@pytest.fixture(scope="module")
def effects_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    tables = effect_tables(with_effects(broken=["SE_3_1"]))
    artifacts = Artifacts(folder)
    artifacts.tables(tables)
    figure = EFFECT_FIGURES["effects_by_site"]
    artifacts.figures([Drawn(figure.draw(tables[figure.table], demo=False), tables[figure.table], "effects_by_site")])
    return folder


def test_the_section_on_effects_states_the_check_and_marks_what_is_not_used(effects_run):
    section = effects_section(effects_run)
    assert "exact replacement of 6 channels at every site in 4 images: it holds at 2 of 3 sites" in section.words[1]
    assert section.summary[0].startswith("First-order effects of channels agree with replacement at 2 of 3 sites; half")
    rows = {row[0].text: [cell.text for cell in row] for row in section.table.rows}
    assert "no: not used" in rows["SE_3_1"]
    assert rows["SE_3_1"][-1] == "–"
    table = pd.read_csv(effects_run / "tables" / "effect_agreement.csv")
    assert rows["SE_2_1"][1] == f"{table['correlation'].iloc[0]:.3f}"
    assert [figure.title for figure in section.figures] == ["Effects by site"]


@pytest.fixture(scope="module")
def scale_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(1)
    base = rng.uniform(0.3, 0.6, (40, 5))
    sites = [GateSite("SE_2_1", 2, 1, 5), GateSite("SE_3_1", 3, 1, 5)]
    moved = {"SE_2_1": 0.05, "SE_3_1": 0.0}
    runs = {
        scale: ImageRecording(sites, ["pug"] * 40, {name: base + by * scale for name, by in moved.items()})
        for scale in (1.0, 2.0)
    }
    tests = shift_tests(image_values(runs))
    artifacts = Artifacts(folder / "scale")
    artifacts.tables({"scale_tests.csv": tests})
    artifacts.facts(FACTS)
    (folder / "scale" / "figures").mkdir()
    (folder / "scale" / "figures" / "scale_response.svg").write_text("<svg/>")
    return folder, overall_shifts(tests)


def test_the_section_on_scale_says_what_was_tested_and_found(scale_run):
    folder, tests = scale_run
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
def test_a_damaged_scale_experiment_has_no_section(scale_run, tmp_path, facts):
    (tmp_path / "scale" / "tables").mkdir(parents=True)
    table = "tables/scale_tests.csv"
    (tmp_path / "scale" / table).write_bytes((scale_run[0] / "scale" / table).read_bytes())
    (tmp_path / "scale" / "run.json").write_text(facts)
    assert scale_section(tmp_path) is None


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, se_probe.cost("demo:se", time=False, out=folder / "cost")


def test_the_section_on_cost_has_the_counts_of_every_site(counted):
    folder, report = counted
    section = cost_section(folder)
    gates, rest = report.cost.gates.parameters, report.cost.parameters - report.cost.gates.parameters
    operations = report.cost.multiply_adds / report.cost.multiply_adds_without - 1
    assert section.summary == (
        f"The gates add +{100 * gates / rest:.2f} % parameters and +{100 * operations:.2f} % multiply-adds to the "
        "network without them.",
    )
    headings = [heading.label for heading in section.table.headings]
    rows = {row[0].text: [cell.text for cell in row] for row in section.table.rows}
    for row in report.table().to_dict("records"):
        assert rows[row["site"]][headings.index("Parameters")] == f"{row['parameters']:,}"
        assert rows[row["site"]][headings.index("Squeeze")] == f"{row['squeeze']:,}"
    assert "Multiplications for one image" in [heading.note for heading in section.table.headings]
    assert [figure.title for figure in section.figures] == ["Cost of the gates by site", "Cost by reduction ratio"]
    assert section.figures[0].files["csv"] == "cost/figures/cost_by_site.csv"
    assert all(line[0] != line[0].lower() or not line[0].isalpha() for line in section.words)


@pytest.mark.parametrize("facts", ["no JSON", "[]", '{"sites": []}', '{"sites": [{"site": "SE_2_1"}]}'])
def test_damaged_costs_have_no_section(tmp_path, facts):
    (tmp_path / "cost").mkdir()
    (tmp_path / "cost" / "cost.json").write_text(facts)
    assert cost_section(tmp_path) is None
