"""The verbs on the command line: what a run shows and what it leaves."""

import json
from pathlib import Path

from tests.shared_files import MODELS, TINY_IMAGENET, needs_shared


@needs_shared
def test_excite_and_plot_on_real_photographs(se_probe, tmp_path):
    done = se_probe(
        "excite",
        "--model",
        f"{MODELS / 'tin50.py'}:seresnet50_quarter",
        "--classes",
        "goldfish,cliff",
        "--per-class",
        4,
        "--reference-per-class",
        1,
        "--out",
        tmp_path / "run",
        "--json",
        SE_PROBE_DATA=str(TINY_IMAGENET),
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["classes"] == ["goldfish", "cliff"]
    assert facts["images"] == 2 * 4 + 48
    assert all(Path(path).exists() for path in facts["files"])
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())
    assert recorded["command"].startswith("se-probe excite --model")
    assert recorded["data"]["per_class"] == 4
    drawn = se_probe("plot", tmp_path / "run", "--channels", "10", "--sites", "SE_4_2", "--out", tmp_path / "again")
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "again" / "figures" / "role_of_excitation.pdf").read_bytes().startswith(b"%PDF")
    wrong = se_probe("plot", tmp_path / "run", "--sites", "SE_4_9")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: ")


def test_ablate_prints_what_interventions_cost_and_json(se_probe, tmp_path):
    options = ["ablate", "--demo", "--sites", "SE_5_3,stages", "--with", "mean", "--per-class", 2, "--workers", 0]
    done = se_probe(*options, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["run"] == str(tmp_path / "run")
    assert [row["intervention"] for row in told["interventions"]] == ["SE_5_3", *(f"stage {s}" for s in (2, 3, 4, 5))]
    row = told["interventions"][0]
    assert row["replacement"] == "mean"
    assert row["images"] == 20
    assert row["top1_ci_low"] < row["top1_change"] < row["top1_ci_high"]
    assert row["parameters_saved"] > 0
    assert "finding   " in done.stderr


def test_ablate_refuses_in_one_line(se_probe, tmp_path):
    done = se_probe("ablate", "--demo", "--with", "median", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr == (
        "error: gates cannot be replaced with 'median'; expected identity, mean, class-mean, shuffle, swap:A,B, "
        "scale:FACTOR or branch:NUMBER.\n"
    )
    unknown = se_probe("ablate", "--demo", "--sites", "SE_9_1", "--out", tmp_path / "run")
    assert unknown.returncode == 2
    assert unknown.stderr.splitlines()[-1].startswith("error: there is no site 'SE_9_1' to intervene on; expected each")
    assert not (tmp_path / "run").exists()
