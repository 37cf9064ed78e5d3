"""The page of a comparison: networks side by side, as one HTML file without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from se_probe.analysis.comparison import Comparison
from se_probe.analysis.comparison_summary import comparison_sentences, comparison_summary
from se_probe.recording import Recording
from se_probe.report.facts import interval_texts, repeatable
from se_probe.report.figures import ReportFigure
from se_probe.report.page import render
from se_probe.report.section import PageTable, sites_table

_SITE_COLUMNS = {
    "site": "site",
    "depth": "Relative depth",
    "specificity": "omega_squared",
    "interval": "omega_interval",
    "between_class_sd": "between_class_sd",
    "within_class_sd": "within_class_sd",
    "verdict": "verdict",
    "mean_gate": "mean_gate",
    "dynamic": "dynamic",
    "open": "open",
    "closed": "closed",
    "effective_rank": "effective_rank",
}
_MATCH_COLUMNS = {
    "run_site": "site",
    "run_sd": "SD of its gates",
    "run_verdict": "Its gates",
    "other_site": "Most alike",
    "other_sd": "SD of those gates",
    "other_verdict": "Those gates",
    "apart": "Depth away",
    "cka": "CKA",
    "cka_interval": "Interval of CKA",
    "rsa": "RSA",
    "rsa_interval": "Interval of RSA",
}


def comparison_html(
    comparison: Comparison,
    recordings: Mapping[str, Recording],
    *,
    figures: Sequence[ReportFigure],
    links: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """Return the comparison as one HTML page that makes no request and runs no script.

    Args:
        comparison: what was computed.
        recordings: label → recording, as in `comparison.runs`.
        figures: pictures, in the order in which they are shown.
        links: tables and other files, relative to the page.
        notes: what a reader must know before believing anything.
    """
    classes = comparison.shared.images["class"].value_counts(sort=False)
    return render(
        "comparison.html.j2",
        comparison=comparison,
        runs=[_run(label, recording) for label, recording in recordings.items()],
        classes=list(classes.items()),
        over_classes=bool((comparison.sites["specificity_over"] == "classes").all()),
        summary=comparison_summary(comparison),
        statements=comparison_sentences(comparison),
        sites=[(label, _sites(rows)) for label, rows in comparison.sites.groupby("run", sort=False)],
        matches=[(*pair, _matches(rows)) for pair, rows in comparison.matches.groupby(["run", "other"], sort=False)],
        figures=figures,
        links=links,
        notes=notes,
        demo=any(recording.demo for recording in recordings.values()),
    )


def _run(label: str, recording: Recording) -> dict[str, object]:
    return {"label": label, "folder": recording.path.parent, "sites": recording.sites} | repeatable(recording)


def _sites(rows: pd.DataFrame) -> PageTable:
    table = rows.assign(interval=interval_texts(rows, "specificity_"))
    names = dict(_SITE_COLUMNS)
    if (rows["specificity_over"] == "images").all():
        names["interval"] = "Interval of ω² (images)"
    return sites_table(table[list(names)].rename(columns=names))


def _matches(rows: pd.DataFrame) -> PageTable:
    table = rows.assign(
        other_site=rows["other_site"].fillna("–"),
        other_verdict=rows["other_verdict"].fillna("–"),
        apart=rows["other_depth"] - rows["run_depth"],
        cka_interval=interval_texts(rows, "cka_"),
        rsa_interval=interval_texts(rows, "rsa_"),
    )
    return sites_table(table[list(_MATCH_COLUMNS)].rename(columns=_MATCH_COLUMNS))
