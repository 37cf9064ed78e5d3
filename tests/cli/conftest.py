"""The command line, called in this process: torch is imported once for all tests."""

import sys
from typing import NamedTuple

import pytest

from se_probe.cli import main


class Done(NamedTuple):
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def se_probe(monkeypatch, capsys):
    """Return a function that runs a command and gives its exit code, its output and its errors."""

    def call(*arguments, cwd=None, **environment):
        if cwd is not None:
            monkeypatch.chdir(cwd)
        for name, value in {"COLUMNS": "400", **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["se-probe", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return Done(stop.value.code or 0, *capsys.readouterr())

    return call
