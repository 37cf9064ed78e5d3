"""The command line as a user runs it: its own process, real exit codes and streams."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.shared_files import MODELS, TINY_IMAGENET, needs_shared


def se_probe(*arguments, cwd=None, **environment):
    program = Path(sys.executable).with_name("se-probe")
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment}
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=variables, timeout=300
    )


@pytest.mark.parametrize(
    "command",
    [[], ["excite"], ["plot"], ["gates"], ["models"], ["classes"], ["ablate"], ["cost"], ["data"], ["data", "fetch"]],
)
def test_help_does_not_wait_for_torch(command):
    """Torch takes seconds to import; help must not import it."""
    script = (
        "import sys; from se_probe.cli import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "assert not {'torch', 'timm', 'pandas', 'matplotlib', 'xarray'} & set(sys.modules), 'slow import'"
    )
    done = subprocess.run([sys.executable, "-c", script, *command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_classes():
    done = se_probe("classes", "1, n02110958, Plane ,cliff", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == [
        {"index": 1, "wnid": "n01443537", "name": "goldfish"},
        {"index": 254, "wnid": "n02110958", "name": "pug"},
        {"index": 404, "wnid": "n02690373", "name": "airliner"},
        {"index": 972, "wnid": "n09246464", "name": "cliff"},
    ]
    assert "carpenter's plane" in done.stderr
    tool = se_probe("classes", "carpenter's plane", "--json")
    assert json.loads(tool.stdout)[0]["index"] == 726


def test_an_ambiguous_name_lists_its_candidates():
    done = se_probe("classes", "crane")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith('error: "crane" is ambiguous in ImageNet-1k: crane (134, n02012849)')
    assert "crane (517, n03126707)" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_gates_as_a_table_and_as_json():
    done = se_probe("gates", "skresnet18", "--json")
    sites = json.loads(done.stdout)
    assert done.returncode == 0
    assert [site["name"] for site in sites] == [f"SK_{s}_{b}" for s in (2, 3, 4, 5) for b in (1, 2)]
    assert sites[0] == {
        "name": "SK_2_1",
        "module": "layer1.0.conv1",
        "family": "SK",
        "stage": 2,
        "block": 1,
        "stride": 4,
        "channels": 64,
        "branches": 2,
        "activation": "softmax over branches",
        "reduction": 4.0,
        "kernels": [3, 5],
    }
    table = se_probe("gates", "skresnet18").stdout
    assert "SK_5_2  layer4.1.conv1  SK" in table
    assert "8 SK sites, SK_2_1 to SK_5_2" in table


def test_a_network_without_gates():
    done = se_probe("gates", "resnet18")
    assert done.returncode == 2
    assert done.stderr.startswith("error: resnet18 has no gates: no feature map is multiplied")


def test_cost_as_a_table():
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


def test_cost_as_json_with_time(tmp_path):
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
        (
            ["nosuchnetwork"],
            'error: timm {timm} has no network "nosuchnetwork"; se-probe models PATTERN lists those with gates',
        ),
        (
            ["demo:se", "--reductions", "4,many"],
            'error: "many" is no reduction ratio; expected whole numbers such as 4,8,16,32.',
        ),
        (["demo:se", "--rounds", "5"], "error: 5 rounds of timing were asked for; expected at least 15."),
        (
            ["resnet18", "--input-size", "64"],
            "error: resnet18 has no gates: no feature map is multiplied by a factor that depends on the input and has "
            "channels but no spatial extent; choose a gated network (see se-probe models).",
        ),
    ],
)
def test_mistakes_about_costs(arguments, message):
    done = se_probe("cost", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == message.format(timm=version("timm")) + "\n"


def test_models_lists_without_a_network():
    done = se_probe("models", "skres", "--json")
    assert {(item["name"], item["family"], item["gates"]) for item in json.loads(done.stdout)} == {
        ("skresnet18", "SK", 8),
        ("skresnet34", "SK", 16),
        ("skresnext50_32x4d", "SK", 16),
    }
    nothing = se_probe("models", "nosuchnetwork")
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("error: no pretrained network with gates matches 'nosuchnetwork'")


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["excite", "--model", "nosuchnetwork", "--data", "."], "error: "),
        (["excite", "--model", "skresnet18", "--random-weights", "--data", "nowhere"], "error: nowhere"),
        (["excite", "--channels", "many", "--demo"], "error: 'many' channels were asked for; expected a number"),
        (["plot", "nowhere"], "error: nowhere holds no recording"),
        (["excite", "--model-arg", "classes", "--demo"], "error: "),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, arguments, start):
    done = se_probe(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(start)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "reports").exists()


def test_an_unknown_option_is_exit_code_2():
    assert se_probe("excite", "--nonsense").returncode == 2


@needs_shared
def test_excite_and_plot_on_real_photographs(tmp_path):
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


def test_ablate_prints_what_interventions_cost_and_json(tmp_path):
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


def test_ablate_refuses_in_one_line(tmp_path):
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
