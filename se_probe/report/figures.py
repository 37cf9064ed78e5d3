"""The figures of a run as pictures that a page can hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from se_probe.figures import INTERVENTION_FIGURES, RUN_FIGURES
from se_probe.report.encoding import data_uri

_MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
_POINTS = 72
_NARROW_INCHES = 4
_DOWNLOADS = ("pdf", "svg", "png", "csv")


@dataclass(frozen=True)
class ReportFigure:
    """A picture as a `data:` address, its words, and its files by format, relative to the page.

    `wide` says that it was drawn for two columns of a paper; a narrow one is not blown up to the page's width.
    """

    title: str
    note: str
    picture: str
    files: dict[str, str]
    wide: bool = True


def run_figures(folder: Path) -> list[ReportFigure]:
    """Return the figures that lie in `folder`, the papers' first, else in the order of their names.

    Those of interventions are left to `intervention_figures`.
    """
    stems = [stem for stem in _stems(folder) if _kind(stem) not in INTERVENTION_FIGURES]
    papers = [stem for stem in RUN_FIGURES if stem in stems]
    return [_figure(folder, stem) for stem in dict.fromkeys([*papers, *stems])]


def intervention_figures(folder: Path) -> list[ReportFigure]:
    """Return the figures of interventions that lie in `folder`; of several replacements each has its own."""
    return [_figure(folder, stem) for kind in INTERVENTION_FIGURES for stem in _stems(folder) if _kind(stem) == kind]


def report_figure(title: str, note: str, paths: Sequence[Path]) -> ReportFigure:
    """Return a figure of its files, an SVG among them, which lie one folder below the page."""
    by_kind = {path.suffix[1:]: path for path in paths}
    picture = data_uri(by_kind["svg"].read_bytes(), _MEDIA_TYPES["svg"])
    return ReportFigure(
        title, note, picture, {kind: f"{path.parent.name}/{path.name}" for kind, path in by_kind.items()}
    )


def _stems(folder: Path) -> list[str]:
    return sorted({path.stem for suffix in _MEDIA_TYPES for path in folder.glob(f"*.{suffix}")})


def _kind(stem: str) -> str:
    """The stem without the replacement, as in `intervention_cost.mean`."""
    return stem.partition(".")[0]


def _words(stem: str) -> tuple[str, str]:
    """Title and note; the replacement is part of the title where it is part of the name."""
    known = (RUN_FIGURES | INTERVENTION_FIGURES).get(_kind(stem))
    if known is None:
        return stem.replace("_", " ").capitalize(), ""
    return ": ".join(part for part in (known.title, stem.partition(".")[2]) if part), known.note


def _figure(folder: Path, stem: str) -> ReportFigure:
    title, note = _words(stem)
    candidates = [path for suffix in _MEDIA_TYPES if (path := folder / f"{stem}.{suffix}").is_file()]
    # A drawing of very many points is smaller as pixels.
    smallest = min(candidates, key=lambda path: path.stat().st_size)
    files = {kind: f"{folder.name}/{stem}.{kind}" for kind in _DOWNLOADS if (folder / f"{stem}.{kind}").is_file()}
    content = smallest.read_bytes()
    picture = data_uri(content, _MEDIA_TYPES[smallest.suffix[1:]])
    return ReportFigure(title, note, picture, files, wide=not _is_narrow(content))


def _is_narrow(content: bytes) -> bool:
    """Return whether an SVG that was drawn at its printed size fits a paper's column."""
    width = re.search(rb'<svg[^>]* width="([0-9.]+)pt"', content[:4000])
    return width is not None and float(width[1]) / _POINTS <= _NARROW_INCHES
