"""Figures with the sites of a network along the x axis: panels one above the other, and lines over sites."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed
from se_probe.figures.style import CurveStyle

NARROW = 20
"""Sites up to which one column is wide enough."""


def look(order: int, *, dashed: bool = False) -> CurveStyle:
    """The style of the `order`-th line of a figure whose lines are not classes."""
    return CurveStyle(style.COLOURS[order], style.DASHES[int(dashed)], style.MARKERS[order], 0.9, 3, order)


BAND = style.area_style(style.COLOURS[0], 0.22)
"""The legend's sample of `plot_band` around the first line."""

NULL_NAME = "fresh weights, same images"
NULL_LOOK = CurveStyle(style.QUIET, style.DASHES[1], None, 0.9, 2.5, 0)
"""The null: the same architecture with fresh weights."""


@contextmanager
def framed_by_site(
    sites: Iterable[str], titles: Sequence[str], wording: Wording, styles: Mapping[str, CurveStyle]
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure with a panel for each title, one above the other, then name the sites below the last."""
    names = [str(name) for name in sites]
    with framed(wording, styles, site_width(len(names)), (len(titles), 1), sharex=True) as (figure, grid):
        panels = list(grid[:, 0])
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title)
        yield figure, panels
        name_sites(panels[-1], names)


def site_width(sites: int) -> float:
    """Return the width of a figure with this many sites along the x axis."""
    return style.SINGLE_COLUMN if sites <= NARROW else style.DOUBLE_COLUMN


def plot_line(axes: Axes, values: pd.Series, style_of: CurveStyle, hollow: pd.Series | None = None) -> None:
    """Draw a line over sites with a marker at each, unfilled where `hollow`."""
    numbers, positions = values.to_numpy(), np.arange(len(values))
    axes.plot(positions, numbers, **{**style_of.marked_line(), "marker": None}, zorder=3)
    unfilled = np.zeros(len(values), dtype=bool) if hollow is None else hollow.to_numpy()
    for mask, is_hollow in ((~unfilled, False), (unfilled, True)):
        axes.plot(positions[mask], numbers[mask], **style_of.points().marked_line(3.4, hollow=is_hollow), zorder=4)


def plot_null(axes: Axes, table: pd.DataFrame, column: str) -> None:
    """Draw the line of the null beside a column, where the table has it."""
    if f"null_{column}" in table:
        axes.plot(np.arange(len(table)), table[f"null_{column}"], **NULL_LOOK.marked_line())


def plot_band(axes: Axes, low: pd.Series, high: pd.Series, style_of: CurveStyle) -> None:
    """Draw the band between two limits."""
    axes.fill_between(np.arange(len(low)), low, high, color=style_of.color, alpha=BAND.alpha, linewidth=0)


def plot_stacked(axes: Axes, table: pd.DataFrame, parts: Mapping[str, tuple[str, str]]) -> None:
    """Draw columns of a table as bars on top of each other; `parts` has the name and the colour of each column."""
    base, positions = np.zeros(len(table)), np.arange(len(table))
    for column, (_, colour) in parts.items():
        heights = table[column].to_numpy()
        axes.bar(positions, heights, 0.8, base, color=colour, edgecolor="white", linewidth=0.4)
        base = base + heights


def plot_level(axes: Axes, values: pd.Series, words: str) -> None:
    """Draw a dotted line at a level of reference, named at its right end."""
    axes.plot(np.arange(len(values)), values.to_numpy(), color=style.QUIET, linestyle=(0, (1, 1.5)), linewidth=0.9)
    look: dict[str, Any] = {"ha": "right", "fontsize": style.SMALL_TEXT, "color": style.QUIET}
    end = (len(values) - 1, float(values.iloc[-1]))
    axes.annotate(words, end, xytext=(0, 2), textcoords="offset points", **look)


def name_sites(axes: Axes, sites: Sequence[str], most: int = 2 * NARROW) -> None:
    """Label the x axis with the sites; with more than `most` of them every second, third … one."""
    axes.set_xlim(-0.6, len(sites) - 0.4)
    style.upright_names(axes, sites, most)
