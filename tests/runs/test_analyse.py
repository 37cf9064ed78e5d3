"""The analysis of a run: the arguments of the next command are those of the run."""

import json
import shlex

import pytest
from typer.main import get_command

import se_probe
from se_probe.cli import app
from se_probe.runs.analyse import arguments_of
from tests.told import told


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    few = {"per_class": 12, "seed": 3, "workers": 0, "report": False, "progress": False}
    return se_probe.excite(["goldfish", "pug"], model="demo:se", out=folder, **few)


def test_the_next_command_names_the_network_and_the_images_of_the_run(run):
    options = json.loads((run.path.parent / "run.json").read_text())["options"]
    assert shlex.split(arguments_of(options, run)) == [
        "--classes", "goldfish,pug", "--model", "demo:se", "--per-class", "12", "--seed", "3",
    ]  # fmt: skip
    assert shlex.split(arguments_of(None, run)) == ["--model", "demo:se", "--demo"]


def test_a_summary_then_a_line_a_finding_then_the_report(run):
    with told() as lines:
        page = se_probe.write_analysis(run, progress=False)
    topics = [line[:10].strip() for line in lines if not line.startswith(("wrote", "statement"))]
    assert topics[0] == "summary"
    assert topics.count("summary") <= 3
    assert topics[-1] == "report"
    assert lines[-1] == f"report    {page.resolve().as_uri()}"
    for line in lines:
        if line.startswith("next"):
            words = shlex.split(line[10:])
            command = get_command(app).commands[words[1]]
            command.make_context(words[1], words[2:])
