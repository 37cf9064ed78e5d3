"""The figures of a run as pictures that a page can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from se_probe.figures import EFFECT_FIGURES, INTERVENTION_FIGURES, RUN_FIGURES, RunFigure
from se_probe.recording.run_folder import FIGURES
from se_probe.report.page import data_uri

_MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
_MAPS = "gate_maps"
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
    """Return the figures in `folder`, the papers' first, else in the order of their names.

    Those of sections of their own are left to `effect_figures` and `intervention_figures`, those of maps, which are
    large, to the explorer, which shows maps itself.
    """
    elsewhere = {*EFFECT_FIGURES, *INTERVENTION_FIGURES, _MAPS}
    stems = [stem for stem in _stems(folder) if _kind(stem) not in elsewhere]
    papers = [stem for stem in RUN_FIGURES if stem in stems]
    return [_known(folder, stem) for stem in dict.fromkeys([*papers, *stems])]


def effect_figures(folder: Path) -> list[ReportFigure]:
    """Return the figures of effects that lie in `folder`."""
    return [_known(folder, stem) for stem in EFFECT_FIGURES if stem in _stems(folder)]


def intervention_figures(folder: Path) -> list[ReportFigure]:
    """Return the figures of interventions in `folder`; of several replacements each has its own."""
    return [_known(folder, stem) for kind in INTERVENTION_FIGURES for stem in _stems(folder) if _kind(stem) == kind]


def joined_figures(place: Path, known: Mapping[str, RunFigure]) -> tuple[ReportFigure, ...]:
    """Return the known figures of a result that joined a run; `place` is its folder in that of the run."""
    folder = place / FIGURES
    return tuple(
        report_figure(folder, stem, known[stem].title, known[stem].note, part=f"{place.name}/")
        for stem in known
        if stem in _stems(folder)
    )


def report_figure(folder: Path, stem: str, title: str, note: str, part: str = "") -> ReportFigure:
    """Return a figure with the smallest of its pictures.

    Args:
        folder: where its files are.
        stem: their name without suffix.
        title: its heading.
        note: a sentence on what it shows.
        part: begins the addresses of its files where the page is not in the folder above.
    """
    candidates = [path for suffix in _MEDIA_TYPES if (path := folder / f"{stem}.{suffix}").is_file()]
    # A drawing of very many points is smaller as pixels.
    smallest = min(candidates, key=lambda path: path.stat().st_size)
    files = {kind: f"{part}{folder.name}/{stem}.{kind}" for kind in _DOWNLOADS if (folder / f"{stem}.{kind}").is_file()}
    content = smallest.read_bytes()
    width = re.search(rb'<svg[^>]* width="([0-9.]+)pt"', content[:4000])
    narrow = width is not None and float(width[1]) / _POINTS <= _NARROW_INCHES
    return ReportFigure(title, note, data_uri(content, _MEDIA_TYPES[smallest.suffix[1:]]), files, wide=not narrow)


def _stems(folder: Path) -> list[str]:
    return sorted({path.stem for suffix in _MEDIA_TYPES for path in folder.glob(f"*.{suffix}")})


def _kind(stem: str) -> str:
    """The stem without the replacement, as in `intervention_cost.mean`."""
    return stem.partition(".")[0]


def _known(folder: Path, stem: str) -> ReportFigure:
    """Return a figure with its title and note; the replacement is part of the title where it is part of the name."""
    known = (RUN_FIGURES | EFFECT_FIGURES | INTERVENTION_FIGURES).get(_kind(stem))
    if known is None:
        return report_figure(folder, stem, stem.replace("_", " ").capitalize(), "")
    title = ": ".join(part for part in (known.title, stem.partition(".")[2]) if part)
    return report_figure(folder, stem, title, known.note)
