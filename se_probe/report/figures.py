"""The figures of a run as pictures that a page can hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from se_probe.report.encoding import data_uri

_TITLES = {
    "role_of_excitation": (
        "Role of excitation",
        "Mean gate of sampled channels: a panel a site, a line a class, and one for all classes with equal weights. "
        "After Hu et al., Squeeze-and-Excitation Networks.",
    ),
    "within_class": (
        "Within-class variation",
        "Mean gate in a band of one standard deviation over the images of a class, for the same sites and channels.",
    ),
    "depth_profile": (
        "Depth profile of class specificity",
        "Share of the gates' variance that lies between classes (ω², bias-corrected), above the spreads that it is a "
        "share of, in gate units.",
    ),
    "health_profile": (
        "Health profile of the gates",
        "Shares of channels whose gates move over images or hardly do, and of single gates near 1 and 0.",
    ),
    "class_heatmap": (
        "Class heat map of mean gates",
        "At the site whose class means lie furthest apart, classes and channels in the order of their clustering.",
    ),
    "class_similarity": (
        "Class similarity",
        "Root mean square difference of mean gates between classes at the same site, beside their dendrogram.",
    ),
    "decodability": (
        "Decodability of the class from the gates",
        "Accuracy with which a linear classifier tells the chosen classes of held-out images from a site's gates.",
    ),
    "channel_distribution": (
        "Channel distribution by class",
        "Gates of single images in the channel with the largest share of variance between classes.",
    ),
}
_INTERVENTIONS = {
    "intervention_cost": (
        "Intervention cost",
        "Change of top-1 accuracy and of NLL with 95 % intervals: each site alone, sites from the last backwards, and "
        "whole stages.",
    ),
    "intervention_savings": (
        "Intervention savings",
        "Change of top-1 accuracy against the parameters and the multiply–adds of the gate paths that would no longer "
        "be needed.",
    ),
    "intervention_classes": (
        "Interventions by class",
        "Rise of the NLL of every class when a site alone is replaced, the classes that are hurt most at the top.",
    ),
    "specificity_importance": (
        "Specificity and importance",
        "Rise of NLL when a site alone is replaced against the class specificity of its gates, a point a site.",
    ),
}
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
    stems = [stem for stem in _stems(folder) if _kind(stem) not in _INTERVENTIONS]
    papers = [stem for stem in _TITLES if stem in stems]
    return [_figure(folder, stem) for stem in dict.fromkeys([*papers, *stems])]


def intervention_figures(folder: Path) -> list[ReportFigure]:
    """Return the figures of interventions that lie in `folder`; of several replacements each has its own."""
    return [_figure(folder, stem) for kind in _INTERVENTIONS for stem in _stems(folder) if _kind(stem) == kind]


def _stems(folder: Path) -> list[str]:
    return sorted({path.stem for suffix in _MEDIA_TYPES for path in folder.glob(f"*.{suffix}")})


def _kind(stem: str) -> str:
    """The stem without the replacement, as in `intervention_cost.mean`."""
    return stem.partition(".")[0]


def _words(stem: str) -> tuple[str, str]:
    """Title and note; the replacement is part of the title where it is part of the name."""
    if _kind(stem) in _INTERVENTIONS:
        title, note = _INTERVENTIONS[_kind(stem)]
        return ": ".join(part for part in (title, stem.partition(".")[2]) if part), note
    return _TITLES.get(stem, (stem.replace("_", " ").capitalize(), ""))


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
