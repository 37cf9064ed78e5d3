"""Scatter plots of sites by what replacing their gates costs: against what it saves, and against class specificity."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from se_probe.analysis.outcomes import cost_of
from se_probe.figures import style
from se_probe.figures.by_site import look
from se_probe.figures.frame import Wording, framed
from se_probe.figures.interventions import CUMULATIVE, SITE, STAGE, measures_of, present_scopes
from se_probe.figures.point_names import name_points
from se_probe.figures.profiles import hollow_note

MOST_NAMES = 24
"""More sites than this cannot all be named in a panel."""
SAVINGS = {"parameters_saved": "parameters of the gate path", "multiply_adds_saved": "multiply–adds of the gate path"}
LOOKS = {SITE: look(0).points(), CUMULATIVE: look(4), STAGE: look(2).points()}
WORDS = {SITE: "a site alone", CUMULATIVE: "from a site to the last", STAGE: "a whole stage"}
STEP = 1.05
SPECIFICITY = {
    "between_class_sd": "spread between class means, gate units",
    "omega_squared": "share between classes, ω²",
}
Floats = NDArray[np.float64]


def intervention_savings(
    table: pd.DataFrame, *, demo: bool, title: str = "Intervention savings", caption: str | None = None
) -> Figure:
    """Draw the change of top-1 accuracy, with 95 % intervals, over parameters and multiply–adds saved, on log axes.

    Rows that save nothing are left out. The upper panels show single sites, named unless there are very many; sites
    that save the same stand side by side. The lower panels show sites from the last backwards and whole stages. One's
    own measure stands in the place of accuracy.

    Args:
        table: rows of `ablation_sites_table` with one replacement and the columns of `with_savings`.
    """
    shown = table[table["parameters_saved"].gt(0) & table["multiply_adds_saved"].gt(0)]
    groups = present_scopes(shown)
    note = "Sites that save the same stand side by side."
    wording = Wording(title, demo, caption, "saved", _measure(table)[1], note)
    looks = {WORDS[scope]: LOOKS[scope] for group in groups for scope in group}
    shape, height = (len(groups), len(SAVINGS)), 1.5 * len(groups)
    with framed(wording, looks, style.DOUBLE_COLUMN, shape, height, sharey="row") as (figure, grid):
        for axes_row, scopes in zip(grid, groups, strict=True):
            for axes, column in zip(axes_row, SAVINGS, strict=True):
                axes.axhline(0, color=style.QUIET, linewidth=0.6)
                for scope in scopes:
                    _draw_savings(axes, shown[shown["scope"] == scope], column, scope)
                _scale(axes, shown.loc[shown["scope"].isin(scopes), column])
        for axes, words in zip(grid[0], SAVINGS.values(), strict=True):
            axes.set_title(words)
    alone = shown[shown["scope"] == SITE]
    if 0 < len(alone) <= MOST_NAMES:
        for axes, column in zip(grid[0], SAVINGS, strict=True):
            rows = alone.sort_values(column, kind="stable")
            x, (y, low, high) = _apart(rows[column]), _changes(rows)
            name_points(axes, x, y, rows["sites"].tolist(), [(x, x, low, high)])
    return figure


def _numbers(rows: pd.DataFrame, *columns: str) -> list[Floats]:
    return [rows[name].to_numpy(dtype=np.float64) for name in columns]


def _changes(rows: pd.DataFrame) -> list[Floats]:
    """Return the change of the measure and its limits, in its unit."""
    name, _, factor = _measure(rows)
    return [factor * values for values in _numbers(rows, f"{name}_change", f"{name}_ci_low", f"{name}_ci_high")]


def _measure(table: pd.DataFrame) -> tuple[str, str, float]:
    """Return the first measure: its name in columns, what it is called, and the factor that puts it into that unit."""
    name, (words, factor) = next(iter(measures_of(table).items()))
    return name, words, factor


def _apart(saved: pd.Series) -> Floats:
    """Return sorted savings with equal ones spread side by side, by `STEP` on the log axis."""
    groups = saved.groupby(saved)
    place = groups.cumcount() - (groups.transform("size") - 1) / 2
    return np.asarray(saved.to_numpy(dtype=np.float64) * STEP ** place.to_numpy(dtype=np.float64))


def _draw_savings(axes: Axes, rows: pd.DataFrame, column: str, scope: str) -> None:
    rows = rows.sort_values(column, kind="stable")
    saved = _apart(rows[column]) if scope == SITE else rows[column].to_numpy(dtype=np.float64)
    values, low, high = _changes(rows)
    axes.vlines(saved, low, high, color=LOOKS[scope].color, linewidth=0.8, alpha=0.8, zorder=2)
    axes.plot(saved, values, **LOOKS[scope].marked_line(3.4), zorder=3)


def _scale(axes: Axes, saved: pd.Series) -> None:
    axes.set_xscale("log")
    axes.set_xlim(saved.min() / 1.6, saved.max() * 1.6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if saved.max() / saved.min() >= 10 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def specificity_importance(
    table: pd.DataFrame,
    *,
    demo: bool,
    correlations: Mapping[str, float] | None = None,
    title: str = "Specificity and importance",
    caption: str | None = None,
) -> Figure:
    """Draw the rise of NLL when a site alone is replaced, with its 95 % interval, over two measures of specificity.

    Sites whose gates are not live have hollow points. ω² has its interval over classes. One's own measure has its loss
    in the place of the rise of NLL.

    Args:
        table: table of `site_importance`: one row per site.
        correlations: Spearman's correlation over sites by column of the measure, which its panel states.
    """
    cost = cost_of(table)
    wording = Wording(title, demo, caption, "class specificity", cost.loss_in_unit, hollow_note(table))
    with framed(wording, {}, style.DOUBLE_COLUMN, (1, len(SPECIFICITY)), 2, sharey=True) as (figure, grid):
        for axes, (column, words) in zip(grid[0], SPECIFICITY.items(), strict=True):
            _draw_importance(axes, table, column)
            axes.set_title(words)
            if correlations and column in correlations:
                style.quiet_title(axes, f"Spearman {correlations[column]:+.2f}")
    if len(table) <= MOST_NAMES:
        for axes, column in zip(grid[0], SPECIFICITY, strict=True):
            known = table.dropna(subset=[column, cost.change])
            (x,), (y, low, high) = _numbers(known, column), cost.losses(known)
            bars = [(x, x, low, high)]
            if column == "omega_squared":
                left, right = _numbers(known, "ci_low", "ci_high")
                bars.append((left, right, y, y))
            name_points(axes, x, y, known["site"].tolist(), bars)
    return figure


def _draw_importance(axes: Axes, table: pd.DataFrame, column: str) -> None:
    points, hollow = look(0).points(), table["verdict"].to_numpy() != "live"
    (x,), (y, low, high) = _numbers(table, column), cost_of(table).losses(table)
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    axes.vlines(x, low, high, color=points.color, linewidth=0.8, alpha=0.7, zorder=2)
    if column == "omega_squared":
        axes.hlines(y, table["ci_low"], table["ci_high"], color=points.color, linewidth=0.5, alpha=0.4, zorder=2)
    for mask, is_hollow in ((~hollow, False), (hollow, True)):
        axes.plot(x[mask], y[mask], **points.marked_line(3.6, hollow=is_hollow))
    axes.margins(x=0.12, y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
