"""The page on images of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from se_probe.report.figures import ReportFigure
from se_probe.report.page import render
from se_probe.report.section import PageTable, sites_table

if TYPE_CHECKING:
    from se_probe.analysis.unusual import UnusualGates

_COLUMNS = {
    "site": "site",
    "branch": "Branch",
    "channel": "Channel",
    "gate": "Gate",
    "reference": "Reference",
    "sd": "SD over images",
    "deviation": "Deviation, SDs",
    "effect": "Effect, logits",
    "word": "Word",
    "evidence": "Evidence",
}


class LookedImage(NamedTuple):
    """An image: its path, what the network answers, how many gates are unusual, and the gates that are shown."""

    path: str
    answer: str
    unusual: str
    table: PageTable
    figure: ReportFigure


class LookPage(NamedTuple):
    """What the page says of all images."""

    images: Sequence[str]
    model: str
    unusual: UnusualGates | None
    demo: bool


def look_html(found: LookPage, images: Sequence[LookedImage], command: str) -> str:
    """Return a page on images that makes no request and runs no script.

    Args:
        found: the images, the network, the comparison with a run.
        images: each image.
        command: how the page was made.
    """
    return render("look.html.j2", found=found, images=images, command=command)


def gates_table(shown: pd.DataFrame) -> PageTable:
    """Return the gates of an image as a table of a page."""
    kept = [name for name in _COLUMNS if name in shown and shown[name].notna().any()]
    kept = [name for name in kept if name != "branch" or shown["branches"].max() > 1]
    return sites_table(shown[kept].rename(columns=_COLUMNS))
