"""The analysis of a run: the arguments of the next command are those of the run."""

import json
import shlex

import pandas as pd
import pytest
from typer.main import get_command

import se_probe
from se_probe.cli import app
from se_probe.demo import stimulus_factors
from se_probe.errors import SeProbeError
from se_probe.runs.analyse import arguments_of, joining_of
from tests.told import told


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    few = {"per_class": 12, "seed": 3, "workers": 0, "report": False, "progress": False}
    return se_probe.excite(["goldfish", "pug"], model="demo:se", out=folder, **few)


def test_the_next_command_names_the_network_and_the_images_of_the_run(run):
    options = json.loads((run.path.parent / "run.json").read_text())["options"]
    assert shlex.split(arguments_of(options, run)) == [
        "--classes", "goldfish,pug", "--model", "demo:se", "--per-class", "12", "--seed", "3"
    ]  # fmt: skip
    assert shlex.split(arguments_of(None, run)) == ["--model", "demo:se", "--demo"]


def test_a_command_that_joins_the_run_names_its_folder_alone_where_that_is_enough(run):
    options = json.loads((run.path.parent / "run.json").read_text())["options"]
    for known in (options, None):
        assert shlex.split(joining_of(known, run)) == ["--run", str(run.path.parent)]


class Foreign:
    """A recording of code and a folder of the user's own, which it may not choose again."""

    complete = True
    demo = False

    def __init__(self, path, source="file", title="photographs"):
        self.path = path
        self.provenance = {"model": {"name": "net.py:build", "source": source}, "data": {"title": title}}


def test_code_weights_and_images_that_a_recording_may_not_choose_are_named_again(tmp_path):
    options = {
        "model": "net.py:build", "data": "my photos", "checkpoint": "w.safetensors", "model_args": {"width": 8},
        "input_size": 64, "per_class": 5, "seed": 3, "classes": "a,b"
    }  # fmt: skip
    recording = Foreign(tmp_path / "recording.zarr")
    words = shlex.split(joining_of(options, recording))
    assert words[:2] == ["--run", str(tmp_path)]
    pairs = set(zip(words[2::2], words[3::2], strict=True))
    assert pairs == {
        ("--model", "net.py:build"), ("--data", "my photos"), ("--checkpoint", "w.safetensors"),
        ("--model-arg", "width=8"), ("--input-size", "64")
    }  # fmt: skip
    named = Foreign(tmp_path / "recording.zarr", source="timm")
    words = shlex.split(joining_of({"model": "seresnet50", "data": "d"}, named))
    assert words == ["--run", str(tmp_path), "--data", "d"]
    recording.complete = False
    assert shlex.split(joining_of({"model": "net.py:build"}, recording)) == ["--model", "net.py:build"]


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
            assert words[1] == "excite" or words[2:4] == ["--run", str(run.path.parent)]


def test_the_demos_factors_are_known_and_those_of_a_file_take_their_place(run, tmp_path):
    tables = run.path.parent / "tables"
    run.report()
    known = pd.read_csv(tables / "site_factors.csv")
    assert {"size", "ground", "all factors"} <= set(known["factor"])
    file = tmp_path / "factors.csv"
    paths = run.images["path"]
    pd.DataFrame({"path": paths, "size": [stimulus_size(path) for path in paths]}).to_csv(file, index=False)
    run.report(factors=file)
    own = pd.read_csv(tables / "site_factors.csv").set_index(["site", "factor"])["share"]
    assert set(own.index.get_level_values("factor")) == {"size", "all factors"}
    for site, share in known[known["factor"] == "size"].set_index("site")["share"].items():
        assert own[site, "size"] == pytest.approx(share, abs=1e-9)


def stimulus_size(path):
    _, name, instance = path.split("/")
    return stimulus_factors(name, int(instance)).scale


def test_a_mistake_in_a_file_of_factors_is_told_before_anything_is_recorded(tmp_path):
    file = tmp_path / "factors.csv"
    file.write_text("path,size\ndemo/goldfish/0000,1.0\n")
    with pytest.raises(SeProbeError, match="has no row for"):
        se_probe.excite("goldfish", demo=True, per_class=3, factors=file, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
