"""Intervention savings: change of accuracy, or of one's own measure, against parameters and multiply–adds saved."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.by_site import look, points_look
from se_probe.figures.frame import Wording, framed
from se_probe.figures.intervention_cost import CUMULATIVE, SITE, STAGE, measures_of
from se_probe.figures.point_names import name_points

PANELS = {"parameters_saved": "parameters of the gate path", "multiply_adds_saved": "multiply–adds of the gate path"}
LOOKS = {SITE: points_look(0), CUMULATIVE: look(4), STAGE: points_look(2)}
WORDS = {SITE: "a site alone", CUMULATIVE: "from a site to the last", STAGE: "a whole stage"}
MOST_NAMES = 24
"""More sites than this cannot all be named in a panel."""
STEP = 1.05
NOTE = "Sites that save the same stand side by side."
Floats = NDArray[np.float64]


def intervention_savings(
    table: pd.DataFrame, *, demo: bool, title: str = "Intervention savings", caption: str | None = None
) -> Figure:
    """Draw the change of top-1 accuracy, with 95 % intervals, over parameters and multiply–adds saved, on log axes.

    Of one's own measure its change in the place of accuracy.

    `table` holds the rows of `ablation_sites_table` with one replacement and the columns of `with_savings`; rows that
    save nothing are left out. The upper panels show single sites, named unless there are very many; sites that save the
    same stand side by side. The lower panels show sites from the last backwards and whole stages.

    Args:
        table: rows of `ablation_sites_table` with one replacement and the columns of `with_savings`.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    shown = table[table["parameters_saved"].gt(0) & table["multiply_adds_saved"].gt(0)]
    groups = [[scope for scope in group if (shown["scope"] == scope).any()] for group in ([SITE], [CUMULATIVE, STAGE])]
    groups = [group for group in groups if group]
    wording = Wording(title, "saved", _measure(table)[1], caption, NOTE, demo)
    looks = {WORDS[scope]: LOOKS[scope] for group in groups for scope in group}
    shape = len(groups), len(PANELS)
    height = 1.5 * len(groups)
    with framed(wording, looks, style.DOUBLE_COLUMN, shape, height, sharey="row") as (figure, grid):
        for axes_row, scopes in zip(grid, groups, strict=True):
            for axes, column in zip(axes_row, PANELS, strict=True):
                _draw_panel(axes, shown, column, scopes)
        for axes, words in zip(grid[0], PANELS.values(), strict=True):
            axes.set_title(words, loc="left", fontweight="bold", pad=4)
    alone = shown[shown["scope"] == SITE]
    if 0 < len(alone) <= MOST_NAMES:
        for axes, column in zip(grid[0], PANELS, strict=True):
            rows = alone.sort_values(column, kind="stable")
            x, (y, low, high) = _apart(rows[column]), _points_of(rows)
            name_points(axes, x, y, rows["sites"].tolist(), [(x, x, low, high)])
    return figure


def _points_of(rows: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Return the change of the measure and its limits, in its unit."""
    change, _, factor = _measure(rows)
    name = change.removesuffix("_change")
    value, low, high = (
        factor * rows[column].to_numpy(dtype=np.float64) for column in (change, f"{name}_ci_low", f"{name}_ci_high")
    )
    return value, low, high


def _measure(table: pd.DataFrame) -> tuple[str, str, float]:
    """Return the first measure: its change, what it is called, and the factor that puts it into that unit."""
    return next(iter(measures_of(table).values()))


def _apart(saved: pd.Series) -> Floats:
    """Return sorted savings with equal ones spread side by side, by `STEP` on the log axis."""
    groups = saved.groupby(saved)
    place = groups.cumcount() - (groups.transform("size") - 1) / 2
    return np.asarray(saved.to_numpy(dtype=np.float64) * STEP ** place.to_numpy(dtype=np.float64))


def _draw_panel(axes: Axes, shown: pd.DataFrame, column: str, scopes: Sequence[str]) -> None:
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    for scope in scopes:
        _draw(axes, shown[shown["scope"] == scope].sort_values(column, kind="stable"), column, scope)
    _scale(axes, shown.loc[shown["scope"].isin(scopes), column])


def _draw(axes: Axes, rows: pd.DataFrame, column: str, scope: str) -> None:
    look_of = LOOKS[scope]
    saved = _apart(rows[column]) if scope == SITE else rows[column].to_numpy(dtype=np.float64)
    values, low, high = _points_of(rows)
    axes.vlines(saved, low, high, color=look_of.color, linewidth=0.8, alpha=0.8, zorder=2)
    axes.plot(
        saved,
        values,
        color=look_of.color,
        linestyle=look_of.linestyle,
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
