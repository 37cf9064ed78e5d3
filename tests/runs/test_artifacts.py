"""What a run leaves is written, told and remembered in one place."""

import json

import pandas as pd
from matplotlib.figure import Figure

from se_probe.runs.artifacts import Artifacts, Drawn
from tests.told import told


def test_figures_tables_and_facts(tmp_path):
    table = pd.DataFrame({"site": ["SE_2_1"], "mean": [0.1 + 0.2]})
    artifacts = Artifacts(tmp_path)
    with told() as lines:
        figures = artifacts.figures([Drawn(Figure(), table, "one")])
        tables = artifacts.tables({"sites.csv": table, "channels.csv.gz": table})
        facts = artifacts.facts({"name": "größer", "complete": True})
    assert [path.relative_to(tmp_path).as_posix() for path in artifacts.written] == [
        *(f"figures/one.{kind}" for kind in ("png", "pdf", "svg", "csv")),
        "tables/sites.csv",
        "tables/channels.csv.gz",
        "run.json",
    ]
    assert artifacts.written == [*figures, *tables, facts]
    assert lines == [f"wrote     {path}" for path in artifacts.written]
    pd.testing.assert_frame_equal(pd.read_csv(tables[1]), table)
    assert json.loads(facts.read_text(encoding="utf-8"))["name"] == "größer"
