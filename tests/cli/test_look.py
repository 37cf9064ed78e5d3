"""The command look: a table for people, JSON for scripts."""

import json

from typer.testing import CliRunner

from se_probe.cli import app


def test_gates_of_an_image_as_a_table_and_as_json():
    asked = ["look", "demo/goldfish/0000", "--model", "demo:se", "--top", "3"]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0
    assert "goldfish" in shown.output
    assert "effect: change of the first answer's logit" in shown.output
    (image,) = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert image["answers"][0]["class"] == "goldfish"
    assert len(image["gates"]) == 3
    assert {"site", "channel", "gate", "effect", "evidence"} <= set(image["gates"][0])
