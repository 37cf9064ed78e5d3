"""Specificity and importance: class specificity of each site against the cost of replacing it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.analysis.outcomes import Cost, cost_of
from se_probe.figures import style
from se_probe.figures.by_site import look
from se_probe.figures.frame import Wording, framed
from se_probe.figures.point_names import name_points

PANELS = {"between_class_sd": "spread between class means, gate units", "omega_squared": "share between classes, ω²"}
MOST_NAMES = 24
NOTE = "Hollow: most channels hardly move ({0})."


def specificity_importance(
    table: pd.DataFrame,
    *,
    demo: bool,
    correlations: Mapping[str, float] | None = None,
    title: str = "Specificity and importance",
    caption: str | None = None,
) -> Figure:
    """Draw the rise of NLL when a site alone is replaced, with its 95 % interval, over two measures of specificity.

    `table` is that of `site_importance`; sites whose gates are not live have hollow points. ω² has its interval over
    classes. One's own measure has its loss in the place of the rise of NLL. `correlations` maps a measure's column to
    Spearman's correlation over the sites, which the panel states.

    Args:
        table: table of `site_importance`: one row per site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        correlations: Spearman's correlation over sites by column of the measure.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    still = [str(verdict) for verdict in table["verdict"].unique() if verdict != "live"]
    note = NOTE.format(" or ".join(still)) if still else None
    cost = cost_of(table)
    wording = Wording(title, "class specificity", cost.loss_in_unit, caption, note, demo)
    with framed(wording, {}, style.DOUBLE_COLUMN, (1, len(PANELS)), 2, sharey=True) as (figure, grid):
        for axes, (column, words) in zip(grid[0], PANELS.items(), strict=True):
            _draw(axes, table, column)
            axes.set_title(words, loc="left", fontweight="bold", pad=4)
            if correlations and column in correlations:
                words = f"Spearman {correlations[column]:+.2f}"
                axes.set_title(words, loc="right", fontsize=style.SMALL_TEXT, color=style.QUIET, pad=4)
    if len(table) <= MOST_NAMES:
        for axes, column in zip(grid[0], PANELS, strict=True):
            _name_sites(axes, table.dropna(subset=[column, cost.change]), column, cost)
    return figure


def _name_sites(axes: Axes, known: pd.DataFrame, column: str, cost: Cost) -> None:
    x, (y, low, high) = known[column].to_numpy(dtype=np.float64), cost.losses(known)
    bars = [(x, x, low, high)]
    if column == "omega_squared":
        bars.append((known["ci_low"].to_numpy(dtype=np.float64), known["ci_high"].to_numpy(dtype=np.float64), y, y))
    name_points(axes, x, y, known["site"].tolist(), bars)


def _draw(axes: Axes, table: pd.DataFrame, column: str) -> None:
    colour, hollow = look(0).color, table["verdict"].to_numpy() != "live"
    x, (y, low, high) = table[column].to_numpy(dtype=np.float64), cost_of(table).losses(table)
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    axes.vlines(x, low, high, color=colour, linewidth=0.8, alpha=0.7, zorder=2)
    if column == "omega_squared":
        axes.hlines(y, table["ci_low"], table["ci_high"], color=colour, linewidth=0.5, alpha=0.4, zorder=2)
    for mask, face in ((~hollow, colour), (hollow, "white")):
        axes.plot(
            x[mask], y[mask], "o", markersize=3.6, markerfacecolor=face, markeredgecolor=colour, markeredgewidth=0.8
        )
    axes.margins(x=0.12, y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
