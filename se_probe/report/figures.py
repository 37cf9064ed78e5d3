"""Figures of a run as pictures to embed in a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from se_probe.figures import EFFECT_FIGURES, INTERVENTION_FIGURES, RUN_FIGURES, RunFigure
from se_probe.report.page import data_uri

_MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
_MAPS = "gate_maps"
_POINTS = 72
_NARROW_INCHES = 4
_DOWNLOADS = ("pdf", "svg", "png", "csv")


@dataclass(frozen=True)
class ReportFigure:
    """A figure as a page shows it.

    Attributes:
        title: heading.
        note: text beside the picture.
        picture: the picture as a `data:` URI.
        files: format → path of the file, relative to the page.
        wide: whether the figure was drawn for two columns of a paper, so that it takes the page's width.
    """

    title: str
    note: str
    picture: str
    files: dict[str, str]
    wide: bool = True


def run_figures(folder: Path) -> list[ReportFigure]:
    """Return the figures of a recording in `folder`: those of `RUN_FIGURES`, then others by their names.

    Figures of effects and interventions are left to their sections, and maps, which are large, to the explorer.
    """
    known = {kind: figure for kind, figure in RUN_FIGURES.items() if kind != _MAPS}
    elsewhere = {*RUN_FIGURES, *EFFECT_FIGURES, *INTERVENTION_FIGURES}
    others = [stem for stem in _stems(folder) if stem.partition(".")[0] not in elsewhere]
    others_shown = (report_figure(folder, stem, stem.replace("_", " ").capitalize(), "") for stem in others)
    return [*known_figures(folder, known), *others_shown]


def known_figures(folder: Path, known: Mapping[str, RunFigure], page: Path | None = None) -> tuple[ReportFigure, ...]:
    """Return the figures in `folder` whose kinds are known: `kind.svg`, or `kind.replacement.svg` of several.

    The page is in the folder `page`, the one above `folder` by default.
    """
    stems = _stems(folder)
    return tuple(
        report_figure(folder, stem, ": ".join([figure.title, *stem.split(".", 1)[1:]]), figure.note, page)
        for kind, figure in known.items()
        for stem in stems
        if stem.partition(".")[0] == kind
    )


def report_figure(folder: Path, stem: str, title: str, note: str, page: Path | None = None) -> ReportFigure:
    """Return the figure whose files are `folder/stem.*`, for a page in the folder `page`, by default the one above.

    The smaller of its pictures is embedded: with very many points that is the PNG.
    """
    files = {kind: path for kind in _DOWNLOADS if (path := folder / f"{stem}.{kind}").is_file()}
    smaller = min((kind for kind in _MEDIA_TYPES if kind in files), key=lambda kind: files[kind].stat().st_size)
    picture = data_uri(files[smaller].read_bytes(), _MEDIA_TYPES[smaller])
    drawing = files["svg"].read_bytes()[:4000] if "svg" in files else b""
    width = re.search(rb'<svg[^>]* width="([0-9.]+)pt"', drawing)
    narrow = width is not None and float(width[1]) / _POINTS <= _NARROW_INCHES
    addresses = {kind: path.relative_to(page or folder.parent).as_posix() for kind, path in files.items()}
    return ReportFigure(title, note, picture, addresses, wide=not narrow)


def _stems(folder: Path) -> list[str]:
    return sorted({path.stem for suffix in _MEDIA_TYPES for path in folder.glob(f"*.{suffix}")})
