"""The application as a user meets it: help, version, completion, exit codes and one-line mistakes."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import se_probe as package
from se_probe.cli.app import app
from se_probe.cli.help import OTHER

VERBS = ["excite", "ablate", "maps", "fold", "change", "scale", "compare", "cost", "look", "plot"]
COMMANDS = [*VERBS, "report", "verify", "merge", "gates", "models", "classes", "data"]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["data", "fetch"]])
def test_help_does_not_wait_for_torch(command):
    """Torch takes seconds to import; help must not import it."""
    script = (
        "import sys; from se_probe.cli import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "assert not {'torch', 'timm', 'pandas', 'numpy', 'matplotlib', 'xarray'} & set(sys.modules), 'slow import'"
    )
    done = subprocess.run([sys.executable, "-c", script, *command, "-h"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_help_lists_every_command_in_order(se_probe):
    status, output, _ = se_probe("--help", COLUMNS="80")
    assert status == 0
    assert re.findall(r"(?m)^│ ([a-z]+)  ", output) == COMMANDS
    assert "--install-completion" in output


@pytest.mark.parametrize("command", COMMANDS[:-1])
def test_help_fits_80_columns_and_cuts_nothing(se_probe, command):
    status, output, _ = se_probe(command, "--help", COLUMNS="80")
    assert status == 0
    lines, _, examples = output.partition("Examples")
    assert max(map(len, lines.splitlines())) <= 80
    assert "…" not in output
    assert f"  se-probe {command}" in examples
    assert f"╭─ {OTHER} " in lines


def test_help_has_panels_and_flags_take_no_value(se_probe):
    _, output, _ = se_probe("excite", "--help", COLUMNS="80")
    panels = re.findall(r"(?m)^╭─ ([^─]*) ─", output)
    assert panels == ["What", "Images", "Figures and report", "Speed", "Where", "Other"]
    assert re.search(r"│ --demo  +Use", output)
    assert re.search(r"│ --\[no-\]report  +Measure", output)
    assert "--classes NAMES" in output
    assert "--batch-size N|auto" in output
    assert "goldfish,pug,plane,cliff" in output
    assert "path/to/file.py:function" in output


def test_version(se_probe):
    assert se_probe("--version") == (0, f"se-probe {version('se-probe')}\n", "")
    assert package.__version__ == version("se-probe")


def test_shell_completion_offers_commands_and_options():
    program = Path(sys.executable).with_name("se-probe")
    for words, number, expected in (("se-probe ab", 1, "ablate"), ("se-probe excite --re", 2, "--resume")):
        asked = {"_SE_PROBE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        done = subprocess.run([program], capture_output=True, text=True, env={**os.environ, **asked})
        assert expected in done.stdout.split()


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["excite", "--model", "nosuchnetwork", "--data", "."], "error: "),
        (["excite", "--model", "skresnet18", "--random-weights", "--data", "nowhere"], "error: nowhere"),
        (["excite", "--channels", "many", "--demo"], "error: --channels many was given; expected a whole number"),
        (["plot", "nowhere"], "error: nowhere holds no recording"),
        (["verify", "nowhere"], "error: nowhere holds no recording"),
        (["excite", "--model-arg", "classes", "--demo"], "error: "),
        (["excite", "--demo", "--data", "."], "error: both the demo and the data . were requested"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(se_probe, tmp_path, arguments, start):
    status, _, errors = se_probe(*arguments, cwd=tmp_path)
    assert status == 2
    assert errors.splitlines()[-1].startswith(start)
    assert not (tmp_path / "reports").exists()


def test_an_unknown_option_is_exit_code_2(se_probe):
    assert se_probe("excite", "--nonsense")[0] == 2


LONG = "n" * 300


ODD = [
    ("--seed", "-1"), ("--seed", str(10**20)), ("--batch-size", str(10**20)), ("--batch-size", "2.5"),
    ("--per-class", "0"), ("--reference-per-class", "-1"), ("--workers", str(10**20)), ("--channels", "-5"),
    ("--input-size", "0"), ("--dtype", "float8"), ("--device", "meta"), ("--device", "nonsense"), ("--device", LONG),
    ("--record-sites", " "), ("--record-sites", "SE_9_9"), ("--sites", " "), ("--sites", ","), ("--sites", LONG),
    ("--capture", " "), ("--capture", LONG), ("--classes", " "), ("--classes", LONG), ("--within", LONG),
    ("--model", " "), ("--model", LONG), ("--checkpoint", LONG), ("--preset", LONG), ("--out", LONG), ("--name", LONG),
    ("--model-arg", LONG)
]  # fmt: skip


@pytest.mark.parametrize("arguments", ODD, ids=lambda arguments: " ".join(arguments)[:40])
def test_odd_values_are_refused_in_one_line(se_probe, tmp_path, arguments):
    status, _, errors = se_probe("excite", "--demo", "--workers", "0", *arguments, cwd=tmp_path)
    assert status == 2
    told = errors.strip().splitlines()
    assert told[-1].startswith("error: ")
    assert [line for line in told if line.startswith("error")] == told[-1:]
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["ablate", "--demo", "--sites", " "], "' '"),
        (["ablate", "--demo", "--with", LONG], "cannot be replaced"),
        (["ablate", "--demo", "--gates-from", LONG], "nnn"),
        (["ablate", "--demo", "--batch-size", str(10**20)], "--batch-size"),
        (["fold", "--demo", "--max-loss", "nan"], "--max-loss nan was given; expected a number above 0"),
        (["fold", "--demo", "--max-loss", "-1"], "--max-loss -1"),
        (["fold", "--demo", "--sites", "SE_9_9"], "SE_9_9"),
        (["fold", "--demo", "--seed", "-1"], "--seed -1"),
        (["scale", "--demo", "--scales", "1"], "two or more"),
        (["scale", "--demo", "--scales", "1,x"], '"x" is not a number'),
        (["scale", "--demo", "--scales", "1,inf"], "--scales inf"),
        (["scale", "--demo", "--scales", f"1,{10**20}"], "--scales 1"),
        (["cost", "demo:se", "--rounds", "5"], "--rounds 5 was given; expected a whole number from 15"),
        (["cost", "demo:se", "--batch-size", str(10**20)], "--batch-size 1"),
        (["cost", "demo:se", "--reductions", " "], "--reductions ' '"),
        (["cost", LONG], "nnn"),
        (["gates", LONG], "nnn"),
        (["plot", LONG], "nnn"),
        (["report", LONG], "nnn"),
        (["verify", LONG], "nnn"),
        (["compare", LONG, LONG], "nnn"),
        (["merge", LONG, LONG, "--out", "whole"], "nnn"),
        (["classes", " "], "error"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else value[:10],
)
def test_odd_values_of_other_commands(se_probe, tmp_path, arguments, found):
    status, _, errors = se_probe(*arguments, cwd=tmp_path)
    assert status == 2
    assert errors.strip().splitlines()[-1].startswith("error: ")
    assert found in errors.strip().splitlines()[-1]
    assert not list(tmp_path.rglob("run.json"))


def test_one_process_where_only_one_can(se_probe, tmp_path):
    for command in (["fold", "--demo"], ["ablate", "--demo"], ["scale", "--demo"], ["cost", "demo:se"]):
        status, _, errors = se_probe(*command, cwd=tmp_path, RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")
        assert status == 2
        assert "2 were started; start it without torchrun" in errors
    assert app.info.name == "se-probe"
