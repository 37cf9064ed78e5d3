"""The page itself: a template filled with facts, with scripts and styles inside and nothing outside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
import vl_convert
from markupsafe import Markup

from se_probe.analysis.findings import Finding, Summary
from se_probe.figures import model_line
from se_probe.recording import Recording
from se_probe.report.encoding import content_hash, json_for_script
from se_probe.report.environment import template_environment
from se_probe.report.explorer import CONFIDENCE, chosen_images, explorer_data, has_reference
from se_probe.report.facts import channels_in_all, chosen_classes, flat_facts, requirements
from se_probe.report.figures import ReportFigure
from se_probe.report.folding import Folding
from se_probe.report.interventions import Interventions
from se_probe.report.sites_table import sites_table
from se_probe.report.thumbnails import Thumbnails
from se_probe.report.words import CATEGORIES, SORT_ORDERS, words_for

VEGA_LITE = "6.4"
SCRIPTS = ("numbers.js", "chart.js", "table.js", "explorer.js")


def report_html(
    recording: Recording,
    *,
    findings: Sequence[Finding],
    summary: Summary | None,
    site_rows: pd.DataFrame,
    channel_rows: pd.DataFrame,
    figures: Sequence[ReportFigure],
    thumbnails: Thumbnails,
    interventions: Interventions | None = None,
    folding: Folding | None = None,
    links: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> str:
    """Return the report as one HTML page that makes no request.

    Args:
        recording: what was run.
        findings: claims and their verdicts, in the order in which they are shown.
        summary: what stands on top of the page.
        site_rows: a row a site; its columns are the columns of the table of sites, `site` first.
        channel_rows: a row a site, branch and channel, with the scores that channels can be sorted by.
        figures: pictures, in the order in which they are shown.
        thumbnails: small pictures of the images whose gates are kept.
        interventions: what replacing gates cost, where that was measured.
        folding: which gates were folded, where that was tried.
        links: tables and other files of the run, relative to the page.
        warnings: what a reader must know before believing anything.
    """
    scripts, style = [_charting_library(), *map(_asset, SCRIPTS)], _asset("report.css")
    template = template_environment().get_template("report.html.j2")
    return template.render(
        policy=_policy(scripts, [style]),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        data=json_for_script(explorer_data(recording, channel_rows, thumbnails)),
        recording=recording,
        provenance=recording.provenance,
        network=model_line(recording.provenance["model"]),
        reference=has_reference(recording),
        facts=flat_facts(recording.provenance),
        requirements=requirements(recording.provenance),
        channels=channels_in_all(recording),
        classes=chosen_classes(recording),
        images=chosen_images(recording),
        findings=findings,
        summary=summary,
        figures=figures,
        interventions=interventions,
        folding=folding,
        sites=sites_table(site_rows),
        scores=[words_for(name) for name in (*SORT_ORDERS, *CATEGORIES) if name in channel_rows.columns],
        confidence=f"{100 * CONFIDENCE:.0f} %",
        thumbnails=thumbnails,
        links=links,
        warnings=warnings,
        library_name=f"Vega-Lite {VEGA_LITE}",
    )


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """A policy that lets these scripts and styles run, shows pictures from inside the page, and forbids the rest."""
    rules: dict[str, Any] = {
        "default-src": ["'none'"],
        "script-src": [content_hash(text) for text in scripts],
        "style-src": [content_hash(text) for text in styles],
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in rules.items())


def _asset(name: str) -> str:
    return files("se_probe.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _charting_library() -> str:
    """Vega-Lite with its embedding function, which holds an interpreter of expressions that needs no eval."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return bundle
