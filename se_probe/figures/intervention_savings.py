"""What interventions cost in accuracy against what they would save in parameters and multiply–adds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from se_probe.figures import style
from se_probe.figures.by_site import look
from se_probe.figures.frame import Wording, add_frame
from se_probe.figures.intervention_cost import CUMULATIVE, SITE, STAGE
from se_probe.figures.notebook_figure import NotebookFigure
from se_probe.figures.point_names import name_points
from se_probe.figures.settle import freeze_layout

PANELS = {"parameters_saved": "parameters of the gate path", "multiply_adds_saved": "multiply–adds of the gate path"}
LOOKS = {SITE: look(0), CUMULATIVE: look(4), STAGE: look(2)}
WORDS = {SITE: "a site alone", CUMULATIVE: "from a site to the last", STAGE: "a whole stage"}
MOST_NAMES = 24
"""More sites than this cannot all be named in a panel."""


def intervention_savings(
    table: pd.DataFrame, *, demo: bool, title: str = "What would be saved", caption: str | None = None
) -> Figure:
    """Change of top-1 accuracy, with 95 % intervals, over parameters and over multiply–adds saved, on log axes.

    `table` holds the rows of `ablation_sites_table` with one replacement, with the columns of `with_savings`; rows
    that save nothing are left out. Above, sites alone, which are named unless there are very many; below, sites
    from the last backwards and whole stages.
    """
    shown = table[table["parameters_saved"].gt(0) & table["multiply_adds_saved"].gt(0)]
    groups = [[scope for scope in group if (shown["scope"] == scope).any()] for group in ([SITE], [CUMULATIVE, STAGE])]
    groups = [group for group in groups if group]
    with style.house_style():
        figure = NotebookFigure(figsize=(style.DOUBLE_COLUMN, len(groups)))
        grid = figure.subplots(len(groups), len(PANELS), sharey="row", squeeze=False)
        for axes_row, scopes in zip(grid, groups, strict=True):
            for axes, column in zip(axes_row, PANELS, strict=True):
                _draw_panel(axes, shown, column, scopes)
        for axes, words in zip(grid[0], PANELS.values(), strict=True):
            axes.set_title(words, loc="left", fontweight="bold", pad=4)
        wording = Wording(title, "saved", "top-1 accuracy, points", caption, None, demo)
        add_frame(figure, wording, {WORDS[scope]: LOOKS[scope] for group in groups for scope in group}, len(groups))
        freeze_layout(figure)
        alone = shown[shown["scope"] == SITE]
        if 0 < len(alone) <= MOST_NAMES:
            for axes, column in zip(grid[0], PANELS, strict=True):
                points = alone[column].to_numpy(dtype=np.float64), 100 * alone["top1_change"].to_numpy()
                name_points(axes, *points, alone["sites"].tolist())
    return figure


def _draw_panel(axes: Axes, shown: pd.DataFrame, column: str, scopes: Sequence[str]) -> None:
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    for scope in scopes:
        _draw(axes, shown[shown["scope"] == scope].sort_values(column), column, scope)
    _scale(axes, shown.loc[shown["scope"].isin(scopes), column])


def _draw(axes: Axes, rows: pd.DataFrame, column: str, scope: str) -> None:
    saved, look_of = rows[column].to_numpy(dtype=np.float64), LOOKS[scope]
    values, low, high = (100 * rows[name].to_numpy() for name in ("top1_change", "top1_ci_low", "top1_ci_high"))
    axes.vlines(saved, low, high, color=look_of.color, linewidth=0.8, alpha=0.8, zorder=2)
    axes.plot(
        saved,
        values,
        color=look_of.color,
        linestyle=look_of.linestyle if scope == CUMULATIVE else "none",
        linewidth=look_of.linewidth,
        marker=look_of.marker,
        markersize=3.4,
        markeredgewidth=0,
        zorder=3,
    )


def _scale(axes: Axes, saved: pd.Series) -> None:
    axes.set_xscale("log")
    axes.set_xlim(saved.min() / 1.6, saved.max() * 1.6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if saved.max() / saved.min() >= 10 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
