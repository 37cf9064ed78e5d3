"""Write the report of a run from its folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from urllib.parse import quote

import vl_convert

from se_probe.analysis.findings import Finding, Summary
from se_probe.analysis.findings import summary as summarise
from se_probe.figures import model_line
from se_probe.io.files import write_file
from se_probe.recording import Recording, open_recording
from se_probe.recording.run_folder import FACTS, FIGURES, REPORT, TABLES
from se_probe.report.dictionary import dictionary_data
from se_probe.report.explorer import CONFIDENCE, chosen_images, explorer_data, has_reference
from se_probe.report.facts import chosen_classes, repeatable, run_facts, run_measures, site_rows
from se_probe.report.figures import run_figures
from se_probe.report.page import asset, json_for_script, render
from se_probe.report.results import read_sections
from se_probe.report.section import sites_table
from se_probe.report.thumbnails import make_thumbnails
from se_probe.report.words import CATEGORIES, SORT_ORDERS, words_for

VEGA_LITE = "6.4"
SCRIPTS = ("numbers.js", "chart.js", "table.js", "maps.js", "dictionary.js", "explorer.js")


def write_report(
    run: str | Path,
    *,
    findings: Sequence[Finding] = (),
    summary: Summary | None = None,
    data: str | Path | None = None,
) -> Path:
    """Write `report.html` into a run's folder, from its recording and all results in the folder.

    Args:
        run: a run's folder or the `recording.zarr` in it.
        findings: claims and their verdicts, in the order in which they are shown.
        summary: the top of the page; that of `summary_of` by default.
        data: folder of the images, for thumbnails; paths stored in the recording are never opened.

    Returns:
        The report's path.

    Raises:
        SeProbeError: there is no recording, it has no image of a chosen class, or the folder cannot be written.
    """
    recording = open_recording(run)
    path = recording.path.parent / REPORT
    write_file(path, report_html(recording, findings=findings, summary=summary, data=data).encode())
    return path


def report_html(
    recording: Recording,
    *,
    findings: Sequence[Finding] = (),
    summary: Summary | None = None,
    data: str | Path | None = None,
) -> str:
    """Return the report of a recording, and of the results beside it, as one self-contained HTML page.

    Args:
        recording: the recording.
        findings: claims and their verdicts, in the order in which they are shown.
        summary: the top of the page; that of `summary_of` by default.
        data: folder of the images, for thumbnails; paths stored in the recording are never opened.

    Raises:
        SeProbeError: the recording has no image of a chosen class.
    """
    folder, images = recording.path.parent, chosen_images(recording)
    measures = run_measures(recording, folder / TABLES)
    channel_rows = measures["channel_specificity.csv.gz"]
    thumbnails = make_thumbnails(recording, images["path"].astype(str).tolist(), data)
    dictionary = dictionary_data(recording, folder / TABLES)
    explorer = {**explorer_data(recording, channel_rows, thumbnails), "dictionary": dictionary}
    return render(
        "report.html.j2",
        scripts=[_charting_library(), *map(asset, SCRIPTS)],
        data=json_for_script(explorer),
        recording=recording,
        demo=recording.demo,
        network=model_line(recording.provenance["model"]),
        reference=has_reference(recording),
        **repeatable(recording),
        channels=sum(site.channels * site.branches for site in recording.sites),
        classes=chosen_classes(recording),
        images=images,
        findings=findings,
        summary=summary or summary_of(recording, findings),
        figures=run_figures(folder / FIGURES),
        sections=read_sections(folder),
        sites=sites_table(site_rows(recording, measures)),
        scores=[words_for(name) for name in (*SORT_ORDERS, *CATEGORIES) if name in channel_rows.columns],
        confidence=f"{100 * CONFIDENCE:.0f} %",
        dictionary=dictionary,
        thumbnails=thumbnails,
        links=_links(folder, recording),
        warnings=run_facts(folder).get("warnings", []),
        library_name=f"Vega-Lite {VEGA_LITE}",
    )


def summary_of(
    recording: Recording, findings: Sequence[Finding], arguments: str | None = None, joining: str | None = None
) -> Summary | None:
    """Return the summary of a run and of all results in its folder, None without findings.

    `arguments` and `joining` are the first arguments of suggested commands: those that record again, and those that
    join the run.
    """
    if not findings:
        return None
    folder = recording.path.parent
    images, classes = len(recording.images), len(recording.classes)
    run = f"--run {shlex.quote(str(folder))}"
    found = summarise(
        findings,
        recorded=f"Recorded {len(recording.sites)} sites on {images:,} images of {classes:,} classes",
        warnings=run_facts(folder).get("warnings", []),
        arguments=arguments or run,
        joining=joining or run,
    )
    more = [sentence for section in read_sections(folder) for sentence in section.summary]
    return replace(found, sentences=(*found.sentences, *more))


def _links(folder: Path, recording: Recording) -> list[str]:
    tables = sorted(path.relative_to(folder).as_posix() for path in (folder / TABLES).glob("*"))
    facts = [FACTS] if (folder / FACTS).is_file() else []
    return [quote(name) for name in (*tables, *facts, recording.path.name)]


@cache
def _charting_library() -> str:
    """Return Vega-Lite with its embedding function; its expression interpreter needs no eval."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return bundle
