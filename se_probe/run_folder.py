"""The folder of a run: where it lies, what it holds, and how an earlier one is kept safe."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from se_probe.analysis.files import write_whole
from se_probe.errors import SeProbeError
from se_probe.folding.saved import FOLDER

REPORTS = Path("reports")
RECORDING, ABLATION = "recording.zarr", "ablation.zarr"
FIGURES, TABLES, FACTS = "figures", "tables", "run.json"
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
        parts = (RECORDING, ABLATION, FIGURES, TABLES, FACTS, REPORT, FOLDER)
        return [part for part in parts if (self.path / part).exists()]

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
        write_whole(path, (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())
        return path


def choose_folder(name: str, out: Path | None, *, overwrite: bool) -> RunFolder:
    """Return the folder of a new run: `out`, else `reports/<name>`, numbered where that is taken.

    Raises:
        SeProbeError: `out` holds a run already and `overwrite` was not asked for, or it is a file.
    """
    if out is None:
        base = REPORTS / _slug(name)
        folders = (RunFolder(base if number == 1 else base.with_name(f"{base.name}-{number}")) for number in _count())
        return next(folder for folder in folders if overwrite or not folder.path.exists())
    folder = RunFolder(out)
    if out.exists() and not out.is_dir():
        raise SeProbeError(f"{out} is a file; expected a folder for the run, choose another with --out.")
    if folder.occupied() and not overwrite:
        raise SeProbeError(
            f"{out} already holds a run ({', '.join(folder.occupied())}); choose another folder with --out, or "
            "replace it with --overwrite."
        )
    return folder


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"


def _count() -> range:
    return range(1, 1_000_000)
