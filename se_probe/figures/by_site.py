"""Figures with the sites of a network along the x axis: panels one above the other, and lines over sites."""

from collections.abc import Callable, Mapping, Sequence
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

Draw = Callable[[Axes, pd.DataFrame], None]


def look(order: int, *, dashed: bool = False) -> CurveStyle:
    """The style of the `order`-th line of a figure whose lines are not classes."""
    return CurveStyle(style.COLOURS[order], style.DASHES[int(dashed)], style.MARKERS[order], 0.9, 3, order)


BAND = style.area_style(style.COLOURS[0], 0.22)
"""The legend's sample of `plot_band` around the first line."""

NULL_NAME = "fresh weights, same images"
NULL_LOOK = CurveStyle(style.QUIET, style.DASHES[1], None, 0.9, 2.5, 0)
"""The null: the same architecture with fresh weights."""


def draw_by_site(
    table: pd.DataFrame, panels: Mapping[str, Draw], wording: Wording, styles: Mapping[str, CurveStyle]
) -> Figure:
    """A panel for each title of `panels`, drawn by its function from `table`, a row a site in network order."""
    sites = [str(name) for name in table["site"]]
    with framed(wording, styles, site_width(len(sites)), (len(panels), 1), sharex=True) as (figure, grid):
        for axes, (title, draw) in zip(grid.ravel(), panels.items(), strict=True):
            draw(axes, table)
            axes.set_title(title)
        name_sites(grid[-1, 0], sites)
    return figure


def site_width(sites: int) -> float:
    """Return the width of a figure with this many sites along the x axis."""
    return style.SINGLE_COLUMN if sites <= NARROW else style.DOUBLE_COLUMN


def plot_line(axes: Axes, values: pd.Series, style_of: CurveStyle, hollow: pd.Series | None = None) -> None:
    """A line over sites with a marker each, without filling where `hollow`."""
    numbers, places = values.to_numpy(), np.arange(len(values))
    axes.plot(places, numbers, **{**style_of.marked_line(), "marker": None}, zorder=3)
    empty = np.zeros(len(values), dtype=bool) if hollow is None else hollow.to_numpy()
    for mask, is_hollow in ((~empty, False), (empty, True)):
        axes.plot(places[mask], numbers[mask], **style_of.points().marked_line(3.4, hollow=is_hollow), zorder=4)


def plot_null(axes: Axes, values: pd.Series) -> None:
    """Draw the line of the null."""
    axes.plot(np.arange(len(values)), values, **NULL_LOOK.marked_line())


def plot_band(axes: Axes, low: pd.Series, high: pd.Series, style_of: CurveStyle) -> None:
    """The band between two limits."""
    axes.fill_between(np.arange(len(low)), low, high, color=style_of.color, alpha=BAND.alpha, linewidth=0)


def plot_level(axes: Axes, values: pd.Series, words: str) -> None:
    """A quiet dotted line at a level that means something, named at its right end."""
    axes.plot(np.arange(len(values)), values.to_numpy(), color=style.QUIET, linestyle=(0, (1, 1.5)), linewidth=0.9)
    look: dict[str, Any] = {"ha": "right", "fontsize": style.SMALL_TEXT, "color": style.QUIET}
    end = (len(values) - 1, float(values.iloc[-1]))
    axes.annotate(words, end, xytext=(0, 2), textcoords="offset points", **look)


def name_sites(axes: Axes, sites: Sequence[str], most: int = 2 * NARROW) -> None:
    """Label the x axis with the sites at 0, 1, …; with more than `most` of them every second, third … one."""
    every = -(-len(sites) // most)
    axes.set_xlim(-0.6, len(sites) - 0.4)
    axes.set_xticks(range(0, len(sites), every), list(sites[::every]), rotation=90)
