"""Costs on the command line: tables, JSON and mistakes."""

import json
from importlib.metadata import version

import pytest


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
        (
            ["nosuchnetwork"],
            'error: timm {timm} has no network "nosuchnetwork"; se-probe models PATTERN lists those with gates',
        ),
        (
            ["demo:se", "--reductions", "4,many"],
            'error: "many" is no number; expected numbers separated by commas, such as 1,1.5,2.',
        ),
        (["demo:se", "--rounds", "5"], "error: --rounds 5 was given; expected a whole number from 15 to 100,000."),
        (
            ["resnet18", "--input-size", "64"],
            "error: resnet18 has no gates: no feature map is multiplied by a factor that depends on the input and has "
            "channels but no spatial extent; choose a gated network (see se-probe models).",
        ),
    ],
)
def test_mistakes_about_costs(se_probe, arguments, message):
    done = se_probe("cost", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == message.format(timm=version("timm")) + "\n"
