"""The section on interventions appears with its table, and its numbers are those of the table."""

import shutil

import pandas as pd
import pytest

from se_probe.analysis.ablation import ablation_tables
from se_probe.analysis.specificity import site_specificity
from se_probe.recording import open_recording
from se_probe.report import write_report
from se_probe.report.interventions import interventions_section
from se_probe.runs.artifacts import Artifacts
from se_probe.runs.draw import interventions_drawn
from tests.analysis.ablated import planted, standard_interventions
from tests.report.runs import HOSTILE
from tests.report.test_write import Page

SITES = ("SE_2_1", "SK_3_1")
COSTS = pd.DataFrame({"site": SITES, "parameters": [1200, 34000], "multiply_adds": [1300, 35000]})


def add_interventions(run, specificity=None, **facts):
    made = planted({"SE_2_1": 0.2, "SK_3_1": 0.0}, classes=3, images=8, **facts)
    tables = ablation_tables(made, COSTS)
    artifacts = Artifacts(run)
    artifacts.tables(tables)
    artifacts.figures(interventions_drawn(tables, model="gated, random", demo=False, specificity=specificity))
    return tables["ablation_sites.csv"]


@pytest.fixture(scope="module")
def ablated(plain_run, tmp_path_factory):
    run = shutil.copytree(plain_run, tmp_path_factory.mktemp("ablated") / "run")
    return run, add_interventions(run, site_specificity(open_recording(run), resamples=9))


@pytest.fixture(scope="module")
def page(ablated):
    return Page(write_report(ablated[0]))


def test_the_section_states_replacement_images_estimators_and_source(page):
    for words in (
        "Interventions",
        "Gates were replaced while the network ran (mean): 5 interventions, all on the same 24 images of 3 classes.",
        "adjusted Wald interval of paired proportions (Bonett and Price 2012)",
        "KL: studentized bootstrap",
        "The mean gates come from reports/net/recording.zarr.",
        "The network was not retrained after an intervention.",
    ):
        assert words in page.text
    assert ("a", {"href": "#interventions"}) in page.tags


def test_numbers_are_those_of_the_table_with_their_limits(ablated, page):
    row = ablated[1].iloc[0]
    top1 = [100 * row[name] for name in ("top1_change", "top1_ci_low", "top1_ci_high")]
    assert "{:.1f} [{:.1f}, {:.1f}]".format(*top1) in page.text
    assert "{:.3f} [{:.3f}, {:.3f}]".format(*row[["nll_change", "nll_ci_low", "nll_ci_high"]]) in page.text
    shown = interventions_section(ablated[0])
    assert shown.table.rows[0][0].text == "SE_2_1"
    assert shown.table.common == (("gates become", "mean"),)
    assert [cell.text for cell in shown.table.rows[0][-2:]] == ["1,200", "1,300"]
    assert shown.table.rows[0][1].key == pytest.approx(100 * row["top1_change"])
    assert [cell.text for cell in shown.table.rows[-1]][-3] == "–"  # a stage has no adjusted p


def test_figures_of_interventions_are_in_their_section_alone(ablated, page):
    folder, _ = ablated
    titles = [figure.title for figure in interventions_section(folder).figures]
    names = ["Intervention cost", "Intervention savings", "Interventions by class", "Specificity and importance"]
    assert titles == names
    for title in titles:
        assert page.text.count(f"{title}.") == 1
    assert "figures/intervention_cost.pdf" in [attributes.get("href") for _, attributes in page.tags]


def test_no_table_no_section(plain_run, plain_page):
    assert interventions_section(plain_run) is None
    assert "Interventions" not in Page(plain_page).text


def test_several_replacements_have_figures_each_and_words_from_outside_are_escaped(plain_run, tmp_path):
    run = shutil.copytree(plain_run, tmp_path / "run")
    hostile = f"swap:{HOSTILE[0]},{HOSTILE[1]}"
    rows = [row for kind in ("identity", hostile) for row in standard_interventions(SITES, kind) if row[1] == "site"]
    add_interventions(run, rows=[(HOSTILE[1], *row[1:]) for row in rows])
    shown = interventions_section(run)
    assert len({figure.title for figure in shown.figures}) == len(shown.figures) == 2 + 1 + 2
    assert shown.figures[0].title == "Intervention cost: identity"
    assert not any("mean gates" in words for words in shown.words)
    page = Page(write_report(run))
    assert not [tag for tag, attributes in page.tags if "onerror" in attributes]
    assert hostile in page.text
