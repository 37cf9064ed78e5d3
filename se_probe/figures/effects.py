"""Figures of the effects of channels: agreement with replacement, effects over sites, selectivity against effect."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.figures import style
from se_probe.figures.by_site import BAND, framed_by_site, look, plot_band, plot_level, plot_line
from se_probe.figures.frame import Wording, filled, framed
from se_probe.figures.style import CurveStyle

MOST_PANELS, COLUMNS = 16, 4
"""Sites that are shown, spread evenly over the network, and panels side by side."""
PANEL = 0.85
EXACT, USED, LEFT_OUT = "as replaced exactly", "a channel of an image", "site that is not used"
PLAIN, PARTIAL, INTERVAL = "of selectivity and effect", "with the gate's spread held fixed", "95 % interval"


def effect_agreement(
    sample: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Effects of channels: first order against replacement",
    caption: str | None = None,
) -> Figure:
    """Draw exact effects over first-order ones, one panel per site; on the line both are equal.

    Args:
        sample: table of `effect_sample` with the `correlation`, `slope` and `holds` of each site.
    """
    looks = {USED: look(0).points(), EXACT: style.REFERENCE}
    if not sample["holds"].all():
        looks[LEFT_OUT] = look(4).points()
    wording = Wording(title, demo, caption, "first-order effect", "exact effect")
    with _framed_panels(sample, wording, looks) as (figure, panels):
        for axes, rows in panels:
            first = rows.iloc[0]
            x, y = (rows[name].to_numpy(dtype=np.float64) for name in ("first_order", "exact"))
            ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
            axes.plot(ends, ends, **looks[EXACT].marked_line())
            axes.plot(x, y, **{**looks[USED if first["holds"] else LEFT_OUT].marked_line(2.2), "alpha": 0.6})
            numbers = f"r {first['correlation']:.3f}\nslope {first['slope']:.2f}"
            quiet: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": style.SMALL_TEXT, "color": style.QUIET}
            axes.text(0.98, 0.03, numbers, transform=axes.transAxes, **quiet)
    return figure


def effects_by_site(
    table: pd.DataFrame, *, demo: bool, title: str = "Effects of channels by site", caption: str | None = None
) -> Figure:
    """Draw the size of effects, how concentrated they are, and how they go with class selectivity, over sites.

    Args:
        table: table of sites of `effect_tables`.
    """
    looks = {PLAIN: look(0), INTERVAL: BAND, PARTIAL: look(4, dashed=True)}
    titles = [
        "root mean square effect of a channel",
        "share of channels that carry half",
        "rank correlation over channels",
    ]
    wording = Wording(title, demo, caption, "site")
    with framed_by_site(table["site"], titles, wording, looks) as (figure, (size, half, correlation)):
        plot_line(size, table["effect"], look(2))
        size.set_ylim(bottom=0)
        plot_line(half, table["half_share"], look(2))
        plot_level(half, pd.Series([0.5] * len(table)), "if all were equal")
        half.set_ylim(0, 0.56)
        correlation.axhline(0, color=style.QUIET, linewidth=0.6)
        plot_band(correlation, table["ci_low"], table["ci_high"], looks[PLAIN])
        plot_line(correlation, table["correlation"], looks[PLAIN])
        plot_line(correlation, table["partial"], looks[PARTIAL])
        correlation.set_ylim(-1, 1)
    return figure


def selectivity_effect(
    channels: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Class selectivity and effect of channels",
    caption: str | None = None,
) -> Figure:
    """Draw the size of a channel's effect over the share of its gate's variance between classes, one panel per site.

    Args:
        channels: table of channels of `effect_tables`.
    """
    wording = Wording(title, demo, caption, "share between classes, ω²", "effect")
    points = {**look(0).points().marked_line(2), "alpha": 0.5, "rasterized": True}
    with _framed_panels(channels, wording, {}) as (figure, panels):
        for axes, rows in panels:
            axes.plot(rows["omega_squared"], rows["effect"], **points)
            axes.set_ylim(bottom=0)
            style.quiet_title(axes, f"Spearman {rows['site_correlation'].iloc[0]:+.2f}")
    return figure


@contextmanager
def _framed_panels(
    table: pd.DataFrame, wording: Wording, styles: Mapping[str, CurveStyle]
) -> Iterator[tuple[Figure, list[tuple[Axes, pd.DataFrame]]]]:
    """Yield a figure with a panel for each site and its rows; of many sites, evenly spread ones with the last."""
    sites = list(table.groupby("site", sort=False))
    shown = np.unique(np.linspace(0, len(sites) - 1, min(len(sites), MOST_PANELS)).round().astype(int))
    if len(shown) < len(sites):
        wording = replace(wording, note=f"{len(shown)} of {len(sites)} sites, evenly spread; the table has all.")
    lines = math.ceil(len(shown) / COLUMNS)
    shape = lines, min(COLUMNS, len(shown))
    with framed(wording, styles, style.DOUBLE_COLUMN, shape, PANEL * lines + 0.4) as (figure, grid):
        panels = []
        for axes, (site, rows) in zip(filled(grid, len(shown)), (sites[index] for index in shown), strict=True):
            axes.set_title(str(site))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(nbins=3))
            panels.append((axes, rows))
        yield figure, panels
