"""Figures of the effects of channels: agreement with replacement, effects over sites, selectivity against effect."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.by_site import BAND, draw_by_site, look, plot_band, plot_level, plot_line
from se_probe.figures.frame import Wording, framed

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
    """Draw exact effects over first-order ones, a panel a site; on the line both are equal.

    Args:
        sample: table of `effect_sample` with the `correlation`, `slope` and `holds` of each site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """
    shown = _spread(sample)
    looks = {USED: look(0).points(), EXACT: style.REFERENCE}
    if not sample["holds"].all():
        looks[LEFT_OUT] = look(4).points()
    wording = Wording(title, "first-order effect", "exact effect", caption, _note(sample, shown), demo)
    rows = math.ceil(len(shown) / COLUMNS)
    size = (rows, min(COLUMNS, len(shown)))
    with framed(wording, looks, style.DOUBLE_COLUMN, size, PANEL * rows + 0.4) as (figure, grid):
        for axes, site in zip(grid.ravel(), shown, strict=False):
            part = sample[sample["site"] == site]
            holds = bool(part["holds"].iloc[0])
            _draw_agreement(axes, part, USED if holds else LEFT_OUT, looks)
            axes.set_title(site)
        _hide(grid.ravel()[len(shown) :])
    return figure


def _draw_agreement(axes: Axes, part: pd.DataFrame, words: str, looks: dict[str, style.CurveStyle]) -> None:
    x, y = (part[name].to_numpy(dtype=np.float64) for name in ("first_order", "exact"))
    ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
    axes.plot(ends, ends, **looks[EXACT].marked_line())
    axes.plot(x, y, **{**looks[words].marked_line(2.2), "alpha": 0.6})
    told = f"r {part['correlation'].iloc[0]:.3f}\nslope {part['slope'].iloc[0]:.2f}"
    quiet: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": style.SMALL_TEXT, "color": style.QUIET}
    axes.text(0.98, 0.03, told, transform=axes.transAxes, **quiet)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=3))


def effects_by_site(
    table: pd.DataFrame, *, demo: bool, title: str = "Effects of channels by site", caption: str | None = None
) -> Figure:
    """Draw the size of effects, how concentrated they are, and how they go with class selectivity, over sites.

    Args:
        table: table of sites of `effect_tables`.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """
    looks = {PLAIN: look(0), INTERVAL: BAND, PARTIAL: look(4, dashed=True)}

    def size(axes: Axes, rows: pd.DataFrame) -> None:
        plot_line(axes, rows["effect"], look(2))
        axes.set_ylim(bottom=0)

    def half(axes: Axes, rows: pd.DataFrame) -> None:
        plot_line(axes, rows["half_share"], look(2))
        plot_level(axes, pd.Series([0.5] * len(rows)), "if all were equal")
        axes.set_ylim(0, 0.56)

    def selective(axes: Axes, rows: pd.DataFrame) -> None:
        axes.axhline(0, color=style.QUIET, linewidth=0.6)
        plot_band(axes, rows["ci_low"], rows["ci_high"], looks[PLAIN])
        plot_line(axes, rows["correlation"], looks[PLAIN])
        plot_line(axes, rows["partial"], looks[PARTIAL])
        axes.set_ylim(-1, 1)

    panels = {
        "root mean square effect of a channel": size,
        "share of channels that carry half": half,
        "rank correlation over channels": selective,
    }
    return draw_by_site(table, panels, Wording(title, "site", "", caption, None, demo), looks)


def selectivity_effect(
    channels: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Class selectivity and effect of channels",
    caption: str | None = None,
) -> Figure:
    """Draw the size of a channel's effect over the share of its gate's variance between classes, a panel a site.

    Args:
        channels: table of channels of `effect_tables`.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """
    shown = _spread(channels)
    wording = Wording(title, "share between classes, ω²", "effect", caption, _note(channels, shown), demo)
    rows = math.ceil(len(shown) / COLUMNS)
    size = (rows, min(COLUMNS, len(shown)))
    with framed(wording, {}, style.DOUBLE_COLUMN, size, PANEL * rows + 0.4) as (figure, grid):
        for axes, site in zip(grid.ravel(), shown, strict=False):
            part = channels[channels["site"] == site]
            points = {**look(0).points().marked_line(2), "alpha": 0.5, "rasterized": True}
            axes.plot(part["omega_squared"], part["effect"], **points)
            axes.set_ylim(bottom=0)
            axes.set_title(site)
            style.quiet_title(axes, f"Spearman {part['site_correlation'].iloc[0]:+.2f}")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(nbins=3))
        _hide(grid.ravel()[len(shown) :])
    return figure


def _spread(table: pd.DataFrame) -> list[str]:
    """Return the sites of a table, evenly spread where they are too many, the last among them."""
    sites = [str(name) for name in table["site"].unique()]
    places = np.unique(np.linspace(0, len(sites) - 1, min(len(sites), MOST_PANELS)).round().astype(int))
    return [sites[place] for place in places]


def _note(table: pd.DataFrame, shown: list[str]) -> str | None:
    sites = table["site"].nunique()
    return None if len(shown) == sites else f"{len(shown)} of {sites} sites, evenly spread; the table has all."


def _hide(rest: NDArray[np.object_]) -> None:
    for axes in rest:
        axes.set_visible(False)
