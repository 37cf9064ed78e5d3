"""The section on cost has the counts of `cost.json`, and none where it is missing or damaged."""

import pytest

import se_probe
from se_probe.report.cost import cost_section


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, se_probe.cost("demo:se", time=False, out=folder / "cost")


def test_a_run_without_costs_has_no_section(tmp_path):
    assert cost_section(tmp_path) is None


def test_the_section_has_the_counts_of_every_site(counted):
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
