"""From a run's folder to its report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import vl_convert

from se_probe.analysis.findings import Finding, Summary
from se_probe.analysis.findings import summary as summarise
from se_probe.figures import model_line
from se_probe.io.files import write_file
from se_probe.recording import Recording, open_recording
from se_probe.recording.run_folder import FACTS, FIGURES, REPORT, TABLES
from se_probe.report.cost import cost_section
from se_probe.report.dictionary import dictionary_data
from se_probe.report.effects import effects_section
from se_probe.report.explorer import CONFIDENCE, chosen_images, explorer_data, has_reference
from se_probe.report.facts import chosen_classes, flat_facts, requirements, run_measures, site_rows
from se_probe.report.figures import ReportFigure, run_figures
from se_probe.report.folding import folding_section
from se_probe.report.interventions import interventions_section
from se_probe.report.page import asset, json_for_script, render
from se_probe.report.scale import scale_section
from se_probe.report.section import Section, sites_table
from se_probe.report.thumbnails import Thumbnails, make_thumbnails
from se_probe.report.words import CATEGORIES, SORT_ORDERS, words_for

VEGA_LITE = "6.4"
SCRIPTS = ("numbers.js", "chart.js", "table.js", "maps.js", "dictionary.js", "explorer.js")
SECTIONS: tuple[Callable[[Path], Section | None], ...] = (
    effects_section,
    interventions_section,
    scale_section,
    folding_section,
    cost_section,
)
"""Results that a run's folder may hold, in the order of their sections: each is read from the folder."""


def write_report(
    run: str | Path,
    *,
    findings: Sequence[Finding] = (),
    summary: Summary | None = None,
    data: str | Path | None = None,
) -> Path:
    """Write `report.html` into a run's folder, from its recording and whatever results are there.

    Args:
        run: a run's folder or the `recording.zarr` in it.
        findings: claims and their verdicts.
        summary: the top of the page; that of `summary_of` by default.
        data: the images, for thumbnails; nothing that the recording names is opened.

    Returns:
        The report's path.

    Raises:
        SeProbeError: there is no recording, it has no image of a chosen class, or the folder cannot be written.
    """
    recording = open_recording(run)
    folder = recording.path.parent
    measures = run_measures(recording, folder / TABLES)
    page = report_html(
        recording,
        findings=findings,
        summary=summary or summary_of(recording, findings),
        site_rows=site_rows(recording, measures),
        channel_rows=measures["channel_specificity.csv.gz"],
        figures=run_figures(folder / FIGURES),
        sections=read_sections(folder),
        dictionary=dictionary_data(recording, folder / TABLES),
        thumbnails=make_thumbnails(recording, [str(path) for path in chosen_images(recording)["path"]], data),
        links=_links(folder, recording),
        warnings=run_facts(folder).get("warnings", []),
    )
    write_file(folder / REPORT, page.encode())
    return folder / REPORT


def report_html(
    recording: Recording,
    *,
    findings: Sequence[Finding],
    summary: Summary | None,
    site_rows: pd.DataFrame,
    channel_rows: pd.DataFrame,
    figures: Sequence[ReportFigure],
    thumbnails: Thumbnails,
    dictionary: Mapping[str, Any],
    sections: Sequence[Section] = (),
    links: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> str:
    """Return the report as one HTML page that makes no request.

    Args:
        recording: what was run.
        findings: claims and their verdicts, in the order in which they are shown.
        summary: the top of the page.
        site_rows: a row a site; its columns are the columns of the table of sites, `site` first.
        channel_rows: a row a site, branch and channel, with the scores that channels can be sorted by.
        figures: pictures of the recording, in the order in which they are shown.
        thumbnails: small pictures of the images whose gates are kept.
        dictionary: what is known about each channel, see `dictionary_data`.
        sections: further results of the run.
        links: tables and other files of the run, relative to the page.
        warnings: what a reader must know before believing anything.
    """
    return render(
        "report.html.j2",
        scripts=[_charting_library(), *map(asset, SCRIPTS)],
        data=json_for_script({**explorer_data(recording, channel_rows, thumbnails), "dictionary": dictionary}),
        recording=recording,
        network=model_line(recording.provenance["model"]),
        reference=has_reference(recording),
        facts=flat_facts(recording.provenance),
        requirements=requirements(recording.provenance),
        channels=sum(site.channels * site.branches for site in recording.sites),
        classes=chosen_classes(recording),
        images=chosen_images(recording),
        findings=findings,
        summary=summary,
        figures=figures,
        sections=sections,
        sites=sites_table(site_rows),
        scores=[words_for(name) for name in (*SORT_ORDERS, *CATEGORIES) if name in channel_rows.columns],
        confidence=f"{100 * CONFIDENCE:.0f} %",
        dictionary=dictionary,
        thumbnails=thumbnails,
        links=links,
        warnings=warnings,
        library_name=f"Vega-Lite {VEGA_LITE}",
    )


def read_sections(folder: Path) -> list[Section]:
    """Return the sections of the results that a run's folder holds beside its recording."""
    return [section for read in SECTIONS if (section := read(folder)) is not None]


def run_facts(folder: Path) -> dict[str, Any]:
    """Return what the `run.json` of a run holds, nothing where there is none."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def summary_of(
    recording: Recording, findings: Sequence[Finding], arguments: str | None = None, joining: str | None = None
) -> Summary | None:
    """Return the summary of a run and of all results in its folder, None without findings.

    Args:
        recording: the recording.
        findings: claims and their verdicts.
        arguments: the network and the images as a command line names them, for a command that records again.
        joining: the run as a command line names it, for a command that joins it.
    """
    if not findings:
        return None
    folder = recording.path.parent
    images, classes = len(recording.images), len(recording.classes)
    run = f"--run {shlex.quote(str(folder))}"
    told = summarise(
        findings,
        recorded=f"Recorded {len(recording.sites)} sites on {images:,} images of {classes:,} classes",
        warnings=run_facts(folder).get("warnings", []),
        arguments=arguments or run,
        joining=joining or run,
    )
    more = [sentence for section in read_sections(folder) for sentence in section.summary]
    return replace(told, sentences=(*told.sentences, *more))


def _links(folder: Path, recording: Recording) -> list[str]:
    tables = sorted(path.relative_to(folder).as_posix() for path in (folder / TABLES).glob("*"))
    facts = [FACTS] if (folder / FACTS).is_file() else []
    return [quote(name) for name in (*tables, *facts, recording.path.name)]


@cache
def _charting_library() -> str:
    """Vega-Lite with its embedding function, which holds an interpreter of expressions that needs no eval."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return bundle
