"""The page of a study, several recordings of the same images: one HTML file without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from se_probe.recording import Recording
from se_probe.report.facts import flat_facts, requirements
from se_probe.report.figures import ReportFigure
from se_probe.report.page import render
from se_probe.report.section import Section

_STYLE = "h3 { margin: 1.6rem 0 0.4rem; } figcaption { overflow-wrap: anywhere; }\n"


@dataclass(frozen=True)
class Study:
    """What the page of a study says.

    Attributes:
        kind: what the study is, in a word or two.
        title: heading of the page.
        lead: what was compared, in a sentence.
        sentences: the summary.
        figures: pictures, in the order in which they are shown.
        sections: tables.
        methods: paragraphs on how numbers were made.
        links: files beside the page.
        notes: what a reader must know before believing anything.
    """

    kind: str
    title: str
    lead: str
    sentences: Sequence[str]
    figures: Sequence[ReportFigure]
    sections: Sequence[Section]
    methods: Sequence[str]
    links: Sequence[str] = ()
    notes: Sequence[str] = ()


def study_html(recording: Recording, study: Study) -> str:
    """Return a study as one HTML page that makes no request and runs no script.

    Args:
        recording: one of the recordings, for the provenance.
        study: what the page says.
    """
    return render(
        "study.html.j2",
        more_style=_STYLE,
        study=study,
        demo=recording.demo,
        provenance=recording.provenance,
        facts=flat_facts(recording.provenance),
        requirements=requirements(recording.provenance),
    )


def with_limits(value: float, low: float, high: float, shape: str = "z.2f", factor: float = 1.0) -> str:
    """Return a number with its limits as a cell shows them, a dash where it is unknown."""
    if value != value:
        return "–"
    limits = "" if low != low else f" [{factor * low:{shape}}, {factor * high:{shape}}]"
    return f"{factor * value:{shape}}{limits}"
