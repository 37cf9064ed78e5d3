"""The folder of a run: where it is, the names of its parts, and the protection of an earlier run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

from se_probe.errors import SeProbeError
from se_probe.io.files import only_writer, remove, remove_leftovers, writing
from se_probe.recording.guard import is_incomplete

REPORTS = Path("reports")
RECORDING, ABLATION = "recording.zarr", "ablation.zarr"
FIGURES, TABLES, FACTS, FOLDED = "figures", "tables", "run.json", "folded"
COST_FACTS = "cost.json"
# Runs of `fold`, `scale` and `cost` that joined this one.
JOINED_FOLD, JOINED_SCALE, JOINED_COST = JOINED = ("fold", "scale", "cost")
# A recording of the same architecture with fresh weights.
NULL = "null.zarr"
REPORT = "report.html"
_PARTS = (RECORDING, ABLATION, FIGURES, TABLES, FACTS, REPORT, FOLDED, *JOINED, NULL)
# The parts that identify a run's folder, in the order in which they are removed, after all others.
_EVIDENCE = (FOLDED, ABLATION, FACTS, RECORDING)


def recording_at(path: Path) -> Path:
    """Return the recording in a run's folder, or `path` itself if it is not such a folder."""
    inner = path / RECORDING
    with suppress(OSError, ValueError):
        return inner if inner.is_dir() else path
    return path


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
        """The zarr store of outcomes under interventions."""
        return self.path / ABLATION

    @property
    def null(self) -> Path:
        """The zarr store of the same architecture with fresh weights."""
        return self.path / NULL

    @property
    def costs(self) -> Path:
        """Table of the costs of gates, which needs the network."""
        return self.tables / "gate_costs.csv"

    @property
    def figures(self) -> Path:
        """Folder of figures and of their data."""
        return self.path / FIGURES

    @property
    def tables(self) -> Path:
        """Folder of tables."""
        return self.path / TABLES

    def occupied(self) -> list[str]:
        """Return the existing parts of a run; none where nothing shows that se-probe made them."""
        made = self.recording.exists() or self.ablation.exists() or (self.path / FOLDED).exists() or self._has_facts()
        return self.present() if made else []

    def present(self) -> list[str]:
        """Return the names of a run's parts that exist, whoever made them."""
        return [part for part in _PARTS if (self.path / part).exists()]

    def _has_facts(self) -> bool:
        with suppress(OSError):
            return (self.path / FACTS).is_file() and b'"se-probe"' in (self.path / FACTS).read_bytes()
        return False

    @property
    def stopped(self) -> bool:
        """Whether it holds a recording that was stopped before its end."""
        return is_incomplete(self.recording)

    def held(self) -> AbstractContextManager[None]:
        """Keep other runs from writing into the folder within the context."""
        return only_writer(self.path / FACTS)

    def clear(self) -> None:
        """Remove the parts of an earlier run, and nothing else in the folder.

        Each is removed in one step, the recording last: a killed process leaves the earlier recording whole, or none.
        """
        if self.path.is_dir():
            with writing(self.path), only_writer(self.recording):
                remove_leftovers(self.path)
                parts = self.occupied()
                for part in [*(part for part in parts if part not in _EVIDENCE), *_EVIDENCE]:
                    if part in parts:
                        remove(self.path / part)


def choose_folder(name: str, out: Path | None, *, overwrite: bool, resume: bool = False) -> RunFolder:
    """Return the folder of a run: `out`, else `reports/<name>`, numbered where that is taken.

    An earlier run in `out` is refused, unless it is to be replaced (`overwrite`) or continued (`resume`). Without
    `out`, `resume` takes the last run of that name.
    """
    if overwrite and resume:
        raise SeProbeError("both --overwrite and --resume were requested; choose to start again or to continue.")
    if out is None:
        if resume:
            return RunFolder(latest_run(name) or REPORTS / _slug(name))
        return next(folder for folder in _folders(name) if overwrite or not folder.path.exists())
    folder = RunFolder(out)
    try:
        occupied, present = folder.occupied(), folder.present()
        is_file = out.exists() and not out.is_dir()
    except (OSError, ValueError) as error:
        raise SeProbeError(f"{out} cannot be used ({error}); choose another folder with --out.") from error
    if is_file:
        raise SeProbeError(f"{out} is a file; expected a folder for the run, choose another with --out.")
    if present and not occupied:
        raise SeProbeError(
            f"{out} holds no run, but {', '.join(present)}, which a run would replace; choose another folder with "
            "--out, or move them away."
        )
    if folder.stopped and not overwrite and not resume:
        raise SeProbeError(
            f"{out} holds a run that was stopped before its end; continue it with --resume, replace it with "
            "--overwrite, or choose another folder with --out."
        )
    if occupied and not overwrite and not resume:
        raise SeProbeError(
            f"{out} already holds a run ({', '.join(occupied)}); choose another folder with --out, or replace it with "
            "--overwrite."
        )
    return folder


def latest_run(name: str) -> Path | None:
    """Return the folder of the last run of a name below `reports/`, None where there is none."""
    runs = list(takewhile(Path.exists, (folder.path for folder in _folders(name))))
    return runs[-1] if runs else None


def _folders(name: str) -> Iterator[RunFolder]:
    base = REPORTS / _slug(name)
    return (RunFolder(base if number == 1 else base.with_name(f"{base.name}-{number}")) for number in count(1))


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
