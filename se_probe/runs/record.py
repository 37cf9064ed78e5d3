"""Record a planned run into its folder, and write the figures, tables and facts of the recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import Any

import pandas as pd

from se_probe.analysis import recording_tables
from se_probe.errors import InterruptedRun
from se_probe.images import label_disagreement
from se_probe.io.files import remove, writing
from se_probe.io.log import tell, tell_line
from se_probe.io.progress import progress_bar, status
from se_probe.models.network import fresh_weights
from se_probe.recording import Execution, Ranks, Recording, record
from se_probe.recording.run_folder import RunFolder, choose_folder, latest_run
from se_probe.runs.artifacts import Artifacts
from se_probe.runs.draw import curves_drawn
from se_probe.runs.options import OnResume
from se_probe.runs.plan import Plan
from se_probe.runs.settings import ExciteSettings
from se_probe.runs.shared_settings import DrawSettings, RunSettings


def folder_of(settings: RunSettings, label: str) -> RunFolder:
    """Choose the folder of a run; refuse one with a run that must not be replaced."""
    out = Path(settings.out) if settings.out is not None else None
    return choose_folder(settings.name or label, out, overwrite=settings.overwrite)


def resumable_folder(settings: ExciteSettings, label: str, url: str | None, ranks: Ranks) -> RunFolder:
    """Choose the run's folder on rank 0, and point out a stopped run that could be continued."""
    label = settings.name or label
    out = Path(settings.out) if settings.out is not None and url is None else None
    if ranks.first and out is None and not settings.resume:
        earlier = latest_run(label)
        if earlier is not None and RunFolder(earlier).stopped:
            tell("note", f"{earlier} holds a run that was stopped before its end; --resume continues it")
    choose = partial(choose_folder, label, out, overwrite=settings.overwrite, resume=settings.resume)
    return RunFolder(Path(ranks.agree("folder", lambda: str(choose().path))))


def record_run(
    plan: Plan, folder: RunFolder, settings: ExciteSettings | None = None, ranks: Ranks | None = None
) -> Recording:
    """Record a planned run into its folder, which is cleared unless the run is resumed.

    `settings` say what is recorded beside the gates, how the network runs, and whether the run is resumed.
    """
    first = ranks is None or ranks.first
    how: dict[str, Any] = {"ranks": ranks}
    if settings is not None:
        how |= {"capture": settings.capture, "effect_of": settings.effect_of, "resume": settings.resume}
    if first and not (settings and settings.resume):
        with writing(folder.path):
            folder.clear()
    execution = settings.execution if settings else Execution()
    return _record(plan, folder.recording, "recording", plan.settings.progress and first, execution, **how)


def record_null(plan: Plan, folder: RunFolder, execution: Execution) -> None:
    """Record the architecture with fresh weights on the same images, beside the run."""
    fresh = replace(plan, model=fresh_weights(plan.model, plan.settings.seed))
    if folder.null.exists():
        remove(folder.null)
    _record(fresh, folder.null, "recording fresh weights", plan.settings.progress, execution)


def _record(plan: Plan, path: Path, words: str, shown: bool, execution: Execution, **how: Any) -> Recording:
    with progress_bar(words, len(plan.selection.entries), shown=shown) as progress:
        return record(
            plan.model,
            plan.discovery.sites,
            plan.selection,
            path,
            provenance=plan.provenance,
            batch_size=plan.machine.batch_size,
            workers=plan.machine.workers,
            device=plan.machine.device,
            execution=execution,
            say=tell_line,
            progress=progress,
            **how,
        )


def write_run(plan: Plan, recording: Recording, folder: RunFolder, shown: DrawSettings) -> None:
    """Write the figures, tables and `run.json` of a recording."""
    tell("recorded", f"{len(recording.images)} images in {folder.recording}")
    warnings = tell_warnings(recording)
    artifacts = Artifacts(folder.path)
    with status("drawing", shown=plan.settings.progress):
        artifacts.figures(curves_drawn(recording, shown))
        artifacts.tables(recording_tables(recording))
    more = {"options": plan.options, "figures": shown.kept(OnResume.SHOWN), "warnings": warnings, "complete": True}
    artifacts.facts({**recording.provenance, **more})


def tell_warnings(recording: Recording) -> list[str]:
    """Log and return what limits trust in a recording: labels that look shuffled, skipped images."""
    guessed = recording.images.dropna(subset=["predicted_index"])
    labels = [None if pd.isna(index) else int(index) for index in guessed["class_index"]]
    disagreement = label_disagreement(labels, guessed["predicted_index"].astype(int).tolist())
    warnings = [disagreement] if disagreement else []
    if len(skipped := recording.skipped):
        first = skipped.iloc[0]
        where = f"{first['path']} ({first['reason']}) first; the recording names them all"
        warnings.append(f"{len(skipped)} images were skipped, {where}")
    for line in warnings:
        tell_line(f"warning   {line}")
    return warnings


@contextmanager
def resumable(plan: Plan, folder: RunFolder, url: str | None) -> Iterator[None]:
    """Add the command that continues the run to an interrupt."""
    try:
        yield
    except KeyboardInterrupt as error:
        number = error.signal if isinstance(error, InterruptedRun) else SIGINT
        message = f"{str(error) or 'stopped'}; continue with: {resume_command(plan, folder, url)}"
        raise InterruptedRun(message, number) from None


def resume_command(plan: Plan, folder: RunFolder, url: str | None) -> str:
    """Return the command line or Python call that continues a run, whichever started it."""
    settings = plan.settings
    place = {"out": url, "name": folder.path.name} if url else {"out": str(folder.path), "name": None}
    changed: dict[str, object] = {**place, "overwrite": False, "resume": True}
    return settings.command_line(**changed) if settings.command else settings.call(**changed)
