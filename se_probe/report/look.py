"""The page on images of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from se_probe.report.figures import ReportFigure
from se_probe.report.page import render
from se_probe.report.section import PageTable, sites_table


class LookedImage(NamedTuple):
    """An image: its path, what the network answers, how many gates are unusual, and the gates that are shown."""

    path: str
    answer: str
    unusual: str
    table: PageTable
    figure: ReportFigure


def look_html(images: Sequence[LookedImage], *, model: str, against_run: bool, demo: bool, command: str) -> str:
    """Return a page on images that makes no request and runs no script.

    Args:
        images: the images.
        model: the network and its weights, in words.
        against_run: whether gates were compared with those of a run.
        demo: whether the network or an image is the demo's.
        command: how the page was made.
    """
    return render("look.html.j2", images=images, model=model, against_run=against_run, demo=demo, command=command)


def gates_table(shown: pd.DataFrame) -> PageTable:
    """Return the gates of an image as a table of a page."""
    hidden = {"image", "branches"} if shown["branches"].max() > 1 else {"image", "branches", "branch"}
    table = shown.drop(columns=list(hidden)).dropna(axis="columns", how="all").rename(columns={"effect": "first_order"})
    return sites_table(table)
