"""What the commands of the verbs show."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.runs.noise import draw_noise
from tests.shared_files import MODELS, TINY_IMAGENET, needs_shared


@needs_shared
def test_excite_and_plot_on_real_photographs(se_probe, tmp_path):
    options = ["--classes", "goldfish,cliff", "--per-class", 4, "--reference-per-class", 1, "--out", tmp_path / "run"]
    model = f"{MODELS / 'tin50.py'}:seresnet50_quarter"
    done = se_probe("excite", "--model", model, *options, "--json", SE_PROBE_DATA=str(TINY_IMAGENET))
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


STEPS = """
import torch
from tests.recording.small import SmallNetwork

def net(seed=0):
    torch.manual_seed(seed)
    return SmallNetwork().eval()
"""


def test_excite_over_steps_names_the_comparison_in_json(se_probe, tmp_path):
    (tmp_path / "net.py").write_text(STEPS)
    data = draw_noise(tmp_path / "images", ("alpha", "beta"), 6, (20, 20))
    options = ["--classes", "alpha,beta", "--data", data, "--model", f"{tmp_path / 'net.py'}:net", "--workers", 0]
    done = se_probe("excite", *options, "--sweep", "seed=1,2", "--out", tmp_path / "step-1", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["run"] == str(tmp_path / "step-1")
    assert Path(facts["recording"]).parents[1] == tmp_path / "step-1"
    assert facts["files"]
    assert all(Path(path).is_file() and Path(path).parents[1] == tmp_path / "step-1" for path in facts["files"])


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
        "scale:FACTOR, branch:NUMBER, quantize:BITS, quantize-logits:BITS or tile:SIDE.\n"
    )
    unknown = se_probe("ablate", "--demo", "--sites", "SE_9_1", "--out", tmp_path / "run")
    assert unknown.returncode == 2
    assert unknown.stderr.splitlines()[-1].startswith("error: there is no site 'SE_9_1' to intervene on; expected each")
    assert not (tmp_path / "run").exists()


def test_cost_as_a_table(se_probe):
    done = se_probe("cost", "legacy_seresnet18", "--input-size", "64", "--no-time", "--reductions", "4,16")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    # Two linear layers 64 to 4 to 64 on maps of 16 by 16.
    assert lines[2] == "SE_2_1 64 16 512 580 0.00 % 16,384 512 16,384 0.02 %"
    total = 2 * sum(2 * c * c // 16 + c + c // 16 for c in (64, 128, 256, 512))
    assert lines[10].startswith(f"all 87,040 {total:,} ")
    assert lines[12] == "By reduction ratio r, 8 of 8 sites; the network's own is 16"
    assert [line.split()[0] for line in lines[14:16]] == ["4", "16"]
    assert "(2/r) Σ C² over all sites: 87,040 parameters; counted there 89,080" in done.stdout
    assert "run time" not in done.stdout


def test_cost_as_json_with_time(se_probe, tmp_path):
    done = se_probe("cost", "demo:se", "--rounds", "15", "--batch-size", "2", "--json", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["network"] == "demo:se"
    assert facts["input_size"] == [3, 96, 96]
    assert len(facts["sites"]) == 9
    assert (facts["run_time"]["rounds"], facts["run_time"]["batch_size"]) == (15, 2)
    assert [share["replaced"] for share in facts["run_time"]["shares"]] == ["gate", "gate and product"]
    assert json.loads((tmp_path / "cost.json").read_text()) == facts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nosuchnetwork", 'timm {timm} has no network "nosuchnetwork"; se-probe models PATTERN lists those with gates'),
        (
            "demo:se --reductions 4,many",
            '"many" is not a number; expected numbers separated by commas, such as 1,1.5,2.',
        ),
        ("demo:se --rounds 5", "--rounds 5 was given; expected a whole number from 15 to 100,000."),
        (
            "resnet18 --input-size 64",
            "resnet18 has no gates: no feature map is multiplied by a factor that depends on the input and has "
            "channels but no spatial extent; choose a gated network (see se-probe models).",
        ),
    ],
)
def test_mistakes_about_costs(se_probe, arguments, message):
    done = se_probe("cost", *arguments.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {message.format(timm=version('timm'))}\n"


def test_look_shows_the_gates_of_an_image_as_a_table_and_as_json(se_probe):
    arguments = ["look", "demo/goldfish/0000", "--model", "demo:se", "--top", "3"]
    shown = se_probe(*arguments)
    assert shown.returncode == 0
    assert "goldfish" in shown.stdout
    assert "effect: change of the first answer's logit" in shown.stdout
    (image,) = json.loads(se_probe(*arguments, "--json").stdout)
    assert image["answers"][0]["class"] == "goldfish"
    assert len(image["gates"]) == 3
    assert {"site", "channel", "gate", "effect", "evidence"} <= set(image["gates"][0])
