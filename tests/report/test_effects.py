"""The section on effects appears with its table, and its numbers are those of the table."""

import pandas as pd
import pytest

from se_probe.analysis.effects import effect_tables
from se_probe.figures import EFFECT_FIGURES
from se_probe.report.effects import effects_section
from se_probe.runs.artifacts import Artifacts, Drawn
from tests.analysis.effect_recording import with_effects


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    tables = effect_tables(with_effects(broken=["SE_3_1"]))
    artifacts = Artifacts(folder)
    artifacts.tables(tables)
    figure = EFFECT_FIGURES["effects_by_site"]
    artifacts.figures([Drawn(figure.draw(tables[figure.table], demo=False), tables[figure.table], "effects_by_site")])
    return folder


def test_a_run_without_effects_has_no_section(tmp_path):
    assert effects_section(tmp_path) is None


def test_the_section_states_the_check_and_marks_what_is_not_used(run):
    section = effects_section(run)
    assert "exact replacement of 6 channels at every site in 4 images: it holds at 2 of 3 sites" in section.words[1]
    assert section.summary[0].startswith("First-order effects of channels agree with replacement at 2 of 3 sites; half")
    rows = {row[0].text: [cell.text for cell in row] for row in section.table.rows}
    assert "no: not used" in rows["SE_3_1"]
    assert rows["SE_3_1"][-1] == "–"
    table = pd.read_csv(run / "tables" / "effect_agreement.csv")
    assert rows["SE_2_1"][1] == f"{table['correlation'].iloc[0]:.3f}"
    assert [figure.title for figure in section.figures] == ["Effects by site"]
