"""From a run's folder to its report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from se_probe.analysis.findings import Finding, Summary
from se_probe.analysis.findings import summary as summarise
from se_probe.io.files import write_file
from se_probe.recording import Recording, open_recording
from se_probe.recording.run_folder import FACTS, REPORT
from se_probe.report.explorer import chosen_images
from se_probe.report.figures import run_figures
from se_probe.report.folding import read_folding
from se_probe.report.interventions import read_interventions
from se_probe.report.measures import channel_rows, run_measures, site_rows
from se_probe.report.page import report_html
from se_probe.report.thumbnails import make_thumbnails


def write_report(
    run: str | Path,
    *,
    findings: Sequence[Finding] = (),
    summary: Summary | None = None,
    data: str | Path | None = None,
) -> Path:
    """Write `report.html` into a run's folder, from its recording and the figures and tables in it.

    A table of interventions among them, `tables/ablation_sites.csv`, has a section of its own.

    Args:
        run: a run's folder or the `recording.zarr` in it.
        findings: claims and their verdicts.
        summary: what stands on top of the page; that of `summary_of` by default.
        data: the images, for thumbnails; nothing that the recording names is opened.

    Returns:
        The report's path.

    Raises:
        SeProbeError: there is no recording, it has no image of a chosen class, or the folder cannot be written.
    """
    recording = open_recording(run)
    folder = recording.path.parent
    measures = run_measures(recording, folder / "tables")
    warnings = _warnings(folder)
    paths = [str(path) for path in chosen_images(recording)["path"]]
    page = report_html(
        recording,
        findings=findings,
        summary=summary or summary_of(recording, findings, warnings),
        site_rows=site_rows(recording, measures),
        channel_rows=channel_rows(measures),
        figures=run_figures(folder / "figures"),
        interventions=read_interventions(folder),
        folding=read_folding(folder),
        thumbnails=make_thumbnails(recording, paths, data),
        links=_links(folder, recording),
        warnings=warnings,
    )
    write_file(folder / REPORT, page.encode())
    return folder / REPORT


def summary_of(
    recording: Recording, findings: Sequence[Finding], warnings: Sequence[str], arguments: str | None = None
) -> Summary | None:
    """Return the summary of a run, None without findings; `arguments` name its network and images on a command line."""
    if not findings:
        return None
    images, classes = len(recording.images), len(recording.classes)
    recorded = f"Recorded {len(recording.sites)} sites on {images:,} images of {classes:,} classes"
    arguments = arguments or f"--run {shlex.quote(str(recording.path.parent))}"
    return summarise(findings, recorded=recorded, warnings=warnings, arguments=arguments)


def _links(folder: Path, recording: Recording) -> list[str]:
    tables = sorted(path.relative_to(folder).as_posix() for path in (folder / "tables").glob("*"))
    facts = [FACTS] if (folder / FACTS).is_file() else []
    return [quote(name) for name in (*tables, *facts, recording.path.name)]


def _warnings(folder: Path) -> list[str]:
    path = folder / FACTS
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [str(line) for line in facts.get("warnings", [])]
