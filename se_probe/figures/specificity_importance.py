"""Class specificity of sites against what they matter: a point a site."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.figures import style
from se_probe.figures.by_site import look
from se_probe.figures.frame import Wording, add_frame
from se_probe.figures.notebook_figure import NotebookFigure
from se_probe.figures.point_names import name_points
from se_probe.figures.settle import freeze_layout

PANELS = {"between_class_sd": "spread between class means, gate units", "omega_squared": "share between classes, ω²"}
MOST_NAMES = 24
NOTE = "Hollow: most channels hardly move ({0})."


def specificity_importance(
    table: pd.DataFrame, *, demo: bool, title: str = "Specificity and importance", caption: str | None = None
) -> Figure:
    """Rise of NLL when a site alone is replaced, with its 95 % interval, over both measures of class specificity.

    `table` is that of `site_importance`; sites whose gates are not live have hollow points. ω² has its interval over
    classes.
    """
    still = [str(verdict) for verdict in table["verdict"].unique() if verdict != "live"]
    with style.house_style():
        figure = NotebookFigure(figsize=(style.DOUBLE_COLUMN, 1))
        grid = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (column, words) in zip(grid, PANELS.items(), strict=True):
            _draw(axes, table, column)
            axes.set_title(words, loc="left", fontweight="bold", pad=4)
        note = NOTE.format(" or ".join(still)) if still else None
        add_frame(figure, Wording(title, "class specificity", "rise of NLL, nats", caption, note, demo), {}, 2)
        freeze_layout(figure)
        if len(table) <= MOST_NAMES:
            for axes, column in zip(grid, PANELS, strict=True):
                known = table.dropna(subset=[column, "nll_change"])
                name_points(axes, known[column].to_numpy(), known["nll_change"].to_numpy(), known["site"].tolist())
    return figure


def _draw(axes: Axes, table: pd.DataFrame, column: str) -> None:
    colour, hollow = look(0).color, table["verdict"].to_numpy() != "live"
    x, y = table[column].to_numpy(dtype=np.float64), table["nll_change"].to_numpy(dtype=np.float64)
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    axes.vlines(x, table["nll_ci_low"], table["nll_ci_high"], color=colour, linewidth=0.8, alpha=0.7, zorder=2)
    if column == "omega_squared":
        axes.hlines(y, table["ci_low"], table["ci_high"], color=colour, linewidth=0.5, alpha=0.4, zorder=2)
    for mask, face in ((~hollow, colour), (hollow, "white")):
        axes.plot(
            x[mask], y[mask], "o", markersize=3.6, markerfacecolor=face, markeredgecolor=colour, markeredgewidth=0.8
        )
    axes.margins(x=0.12, y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
