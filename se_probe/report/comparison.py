"""The page of a comparison: networks side by side, as one HTML file without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd
from markupsafe import Markup

from se_probe.analysis.comparison import Comparison, comparison_sentences
from se_probe.recording import Recording
from se_probe.report.encoding import content_hash
from se_probe.report.environment import template_environment
from se_probe.report.facts import flat_facts, requirements
from se_probe.report.figures import ReportFigure
from se_probe.report.sites_table import SitesTable, sites_table

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
_STYLE = "h3 { margin: 1.6rem 0 0.4rem; } figcaption { overflow-wrap: anywhere; }\n"
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


@dataclass(frozen=True)
class RunFacts:
    """A run as the page tells of it: its label, folder, recording and what there is to know of its making."""

    label: str
    folder: str
    recording: Recording
    facts: list[tuple[str, str]]
    requirements: str


@dataclass(frozen=True)
class MatchTable:
    """The most alike sites of `other` for each site of `run`."""

    run: str
    other: str
    table: SitesTable


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
    style = files("se_probe.report").joinpath("report.css").read_text(encoding="utf-8") + _STYLE
    classes = comparison.shared.images["class"].value_counts(sort=False)
    return (
        template_environment()
        .get_template("comparison.html.j2")
        .render(
            policy=_policy(style),
            style=Markup(style),  # a file of this package
            comparison=comparison,
            runs=[_run_facts(label, recording) for label, recording in recordings.items()],
            classes=list(classes.items()),
            over_classes=bool((comparison.sites["specificity_over"] == "classes").all()),
            sentences=comparison_sentences(comparison),
            sites=[(label, _sites(rows)) for label, rows in comparison.sites.groupby("run", sort=False)],
            matches=[_matches(rows) for _, rows in comparison.matches.groupby(["run", "other"], sort=False)],
            figures=figures,
            links=links,
            notes=notes,
            demo=any(recording.demo for recording in recordings.values()),
        )
    )


def _run_facts(label: str, recording: Recording) -> RunFacts:
    provenance = recording.provenance
    return RunFacts(label, str(recording.path.parent), recording, flat_facts(provenance), requirements(provenance))


def _sites(rows: pd.DataFrame) -> SitesTable:
    table = rows.assign(interval=_limits(rows, "specificity"))
    names = dict(_SITE_COLUMNS)
    if (rows["specificity_over"] == "images").all():
        names["interval"] = "Interval of ω² (images)"
    return sites_table(table[list(names)].rename(columns=names))


def _matches(rows: pd.DataFrame) -> MatchTable:
    table = rows.assign(
        other_site=rows["other_site"].fillna("–"),
        other_verdict=rows["other_verdict"].fillna("–"),
        apart=rows["other_depth"] - rows["run_depth"],
        cka_interval=_limits(rows, "cka"),
        rsa_interval=_limits(rows, "rsa"),
    )
    shown = table[list(_MATCH_COLUMNS)].rename(columns=_MATCH_COLUMNS)
    return MatchTable(str(rows["run"].iloc[0]), str(rows["other"].iloc[0]), sites_table(shown))


def _limits(rows: pd.DataFrame, name: str) -> list[str]:
    pairs = zip(rows[f"{name}_ci_low"], rows[f"{name}_ci_high"], strict=True)
    return ["–" if pd.isna(low) or pd.isna(high) else f"{low:z.2f} to {high:z.2f}" for low, high in pairs]


def _policy(style: str) -> str:
    """A policy that lets this style in and pictures from inside the page, and forbids the rest."""
    sources = f"style-src {content_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; {sources}"
