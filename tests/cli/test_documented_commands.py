"""Every command line of the README, the docs, the notebooks and the help is one that the command line takes."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from se_probe.cli import app
from se_probe.errors import SeProbeError
from se_probe.runs import settings
from se_probe.runs.options import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "notebooks").glob("*.md"))]
# How a page leaves something to the reader, in the place of a value.
PLACEHOLDERS = ("…", "...", "\\|", "|")
VERBS = "excite|ablate|maps|fold|change|scale|compare|cost|look|plot|report|verify|merge|gates|models|classes|data"
LINE = re.compile(rf"(?:se-probe|-m se_probe) ((?:{VERBS})\b[^`\n#]*)")
SETTINGS = {
    name[: -len("Settings")].lower(): kind for name, kind in vars(settings).items() if name.endswith("Settings")
}


def documented():
    texts = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
    for book in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(book.read_text(encoding="utf-8"))["cells"]
        texts[book.name] = "\n".join("".join(cell["source"]) for cell in cells)
    for name, command in commands(get_command(app)):
        texts[f"help of {name}"] = command.epilog or ""
    for place, text in texts.items():
        for match in LINE.finditer(text.replace("\\\n", " ")):
            yield place, match[1].strip().rstrip(".,;:)")


def commands(group, path=()):
    for name in group.commands:
        command = group.commands[name]
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def words_of(line):
    """The words of a line, without what it leaves to the reader; None where it is a phrase of a sentence."""
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    words = [word.strip("[]") for word in words if word not in PLACEHOLDERS]
    if words[-1] in WITH_VALUE:  # The rest of the line is on the next one, or in a variable.
        words.pop()
    return [word.split("\\|")[0].split("|")[0].rstrip("…") for word in words]


WITH_VALUE = {
    name
    for _, command in commands(get_command(app))
    for parameter in command.params
    if not getattr(parameter, "is_flag", False)
    for name in parameter.opts
}
LINES = sorted(set(documented()))


def test_there_are_lines_to_try():
    assert len(LINES) > 40
    assert {line.split()[0] for _, line in LINES} >= {
        *SETTINGS.keys() & {"excite", "ablate", "fold", "change", "scale", "cost"}
    }


@pytest.mark.parametrize(("place", "line"), LINES, ids=[f"{place}: {line}"[:90] for place, line in LINES])
def test_every_documented_line_is_understood(place, line):
    words = words_of(line)
    assert words is not None, line
    command, rest = get_command(app), words
    while isinstance(command, TyperGroup) and rest:
        assert rest[0] in command.commands, f"{place}: there is no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    asked = [word.partition("=")[0] for word in rest if word.startswith("--")]
    unknown = [word for word in asked if word not in known | {"--help"}]
    assert not unknown, f"{place}: {line}: there is no option {unknown[0]}"
    if not isinstance(command, TyperGroup) and "--" in line:
        context = command.make_context(words[0], [*rest, *missing(command, rest)], resilient_parsing=False)
        kind = SETTINGS.get(words[0])
        if kind is not None and issubclass(kind, Settings):
            try:
                given = {item.name: context.params[item.name] for item in kind.options() if item.name in context.params}
                kind(**{key: value for key, value in given.items() if value is not None})
            except SeProbeError as error:
                pytest.fail(f"{place}: {line}: {error}")


def missing(command, rest):
    """What stands for arguments that the line leaves out."""
    wanted = [item for item in command.params if item.param_type_name == "argument" and item.required]
    starts = [True, *(not word.startswith("--") for word in rest)]
    plain = [word for word, start in zip(rest, starts, strict=False) if start and not word.startswith("--")]
    return ["NAME"] * len(wanted) if wanted and not plain else []


@pytest.mark.parametrize(
    "line",
    [
        "ablate --demo --sites SE_5_2,SE_5_3 --per-class 4",
        "cost demo:se --no-time",
        "gates demo:sk",
        "classes goldfish,pug,plane,cliff",
        "models skres",
        "data list",
    ],
)
def test_cheap_lines_run(se_probe, tmp_path, line):
    status, _, errors = se_probe(*shlex.split(line), cwd=tmp_path)
    assert status == 0, errors


def test_the_example_of_plot_and_report_run(se_probe, tmp_path):
    options = ["--per-class", "4", "--workers", "0", "--no-report"]
    assert se_probe("excite", "--demo", *options, cwd=tmp_path).returncode == 0
    for name, command in commands(get_command(app)):
        if name in {"plot", "report", "verify"}:
            for example in command.epilog.splitlines():
                done = se_probe(*shlex.split(example)[1:], cwd=tmp_path)
                assert done.returncode == 0, done.stderr
