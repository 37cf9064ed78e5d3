"""The folder of a run: where it lies, what it holds, and how an earlier one is kept safe."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from se_probe.errors import SeProbeError
from se_probe.io.files import write_file
from se_probe.recording import is_incomplete

REPORTS = Path("reports")
RECORDING, ABLATION = "recording.zarr", "ablation.zarr"
FIGURES, TABLES, FACTS, FOLDED = "figures", "tables", "run.json", "folded"
REPORT = "report.html"


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run: the recording, its figures and tables, and `run.json` with the provenance."""

    path: Path

    @property
    def recording(self) -> Path:
        """The zarr store."""
        return self.path / RECORDING

    @property
    def ablation(self) -> Path:
        """The zarr store of what interventions did."""
        return self.path / ABLATION

    @property
    def costs(self) -> Path:
        """Table of what the gates cost, which needs the network."""
        return self.tables / "gate_costs.csv"

    @property
    def figures(self) -> Path:
        """Folder of figures and of the data behind each."""
        return self.path / FIGURES

    @property
    def tables(self) -> Path:
        """Folder of tables."""
        return self.path / TABLES

    def occupied(self) -> list[str]:
        """Return which parts of a run are there already."""
        parts = (RECORDING, ABLATION, FIGURES, TABLES, FACTS, REPORT, FOLDED)
        return [part for part in parts if (self.path / part).exists()]

    @property
    def stopped(self) -> bool:
        """Whether it holds a recording that was stopped before its end."""
        return is_incomplete(self.recording)

    def clear(self) -> None:
        """Remove the parts of an earlier run, and nothing else that lies in the folder."""
        for part in self.occupied():
            target = self.path / part
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink()

    def write_facts(self, facts: dict[str, Any]) -> Path:
        """Write `run.json`."""
        path = self.path / FACTS
        write_file(path, (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())
        return path


def choose_folder(name: str, out: Path | None, *, overwrite: bool, resume: bool = False) -> RunFolder:
    """Return the folder of a run: `out`, else `reports/<name>`, numbered where that is taken.

    With `resume`, it is the folder of the run to continue: without `out` the last of that name, if there is one.

    Raises:
        SeProbeError: `out` holds a run already and neither `overwrite` nor `resume` was asked for, or both were,
            or it is a file.
    """
    if overwrite and resume:
        raise SeProbeError("both --overwrite and --resume were asked for; choose to start again or to continue.")
    if out is None:
        if resume:
            return RunFolder(latest_run(name) or REPORTS / _slug(name))
        return next(folder for folder in _folders(name) if overwrite or not folder.path.exists())
    folder = RunFolder(out)
    if out.exists() and not out.is_dir():
        raise SeProbeError(f"{out} is a file; expected a folder for the run, choose another with --out.")
    if folder.stopped and not overwrite and not resume:
        raise SeProbeError(
            f"{out} holds a run that was stopped before its end; continue it with --resume, replace it with "
            "--overwrite, or choose another folder with --out."
        )
    if folder.occupied() and not overwrite and not resume:
        raise SeProbeError(
            f"{out} already holds a run ({', '.join(folder.occupied())}); choose another folder with --out, or "
            "replace it with --overwrite."
        )
    return folder


def latest_run(name: str) -> Path | None:
    """Return the folder of the last run of a name below `reports/`, None where there is none."""
    before = None
    for folder in _folders(name):
        if not folder.path.exists():
            break
        before = folder.path
    return before


def resume_command(command: str, folder: RunFolder, url: str | None) -> str:
    """Return what continues a run: its own command line, with the folder that it was given, and a URL to copy it to."""
    if not command.startswith("se-probe "):
        place = f"out={url!r}, name={folder.path.name!r}" if url else f"out={str(folder.path)!r}"
        return f"{command}(..., {place}, resume=True)"
    kept: list[str] = []
    words = iter(shlex.split(command))
    for word in words:
        if word in ("--out", "--name"):
            next(words, None)
        elif word not in ("--overwrite", "--resume") and not word.startswith(("--out=", "--name=")):
            kept.append(word)
    kept += ["--out", url, "--name", folder.path.name] if url else ["--out", str(folder.path)]
    return shlex.join([*kept, "--resume"])


def _folders(name: str) -> Iterator[RunFolder]:
    base = REPORTS / _slug(name)
    return (RunFolder(base if number == 1 else base.with_name(f"{base.name}-{number}")) for number in count(1))


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
