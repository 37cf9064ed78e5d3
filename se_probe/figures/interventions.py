"""What interventions cost: accuracy and NLL by site and NLL by class, or the user's metric."""

import textwrap
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from se_probe.analysis.outcomes import NLL, cost_of
from se_probe.figures import style
from se_probe.figures.by_site import NARROW, look, name_sites, site_width
from se_probe.figures.classes import MOST_NAMES, add_colour_bar, draw_matrix, name_rows
from se_probe.figures.frame import Wording, framed

SITE, CUMULATIVE, STAGE = "site", "cumulative", "stage"
SCOPES = (SITE, CUMULATIVE, STAGE)
"""The scopes that have a place along the sites; others are in the table only."""
LOOKS = {SITE: look(0).points(), CUMULATIVE: look(4), STAGE: replace(look(2), marker=None, linewidth=1.6)}
WORDS = {SITE: "this site alone", CUMULATIVE: "from this site to the last", STAGE: "a whole stage"}
MEASURES = {"top1": ("top-1 accuracy, points", 100.0), "nll": ("NLL, nats", 1.0)}
"""What the panel of a measure is called, and the factor that puts its change into that unit."""
NO_INTERVAL = "Without a bar: no interval, because no output changed or too few images have a known class."
OWN_WITHOUT_INTERVAL = "Without a bar: no interval, because every image changed by the same or too few were measured."

COLOURS = "PuOr_r"
"""Brewer's diverging purple and orange, which colour-blind readers tell apart; orange is harm."""
NAME_WIDTH = 26
CLASSES_A_ROW = 20
FEWEST_CUT = 100
"""Cells from which on the colours do not have to reach the most extreme one."""
SIGNIFICANT = "Dot: the cell's own 95 % interval excludes 0 (not corrected for the number of cells)."


def intervention_cost(
    table: pd.DataFrame, *, demo: bool, title: str = "Intervention cost", caption: str | None = None
) -> Figure:
    """Draw the change of top-1 accuracy above and of NLL below, with 95 % intervals, over sites in network order.

    The left panels show each site alone. The right panels show sites replaced from the last backwards, as a point at
    the first of them, and whole stages, as a line over their sites. Grey lines separate the stages. The user's
    metric has one row of panels, in its unit.

    Args:
        table: rows of `ablation_sites_table` with one replacement; top-1 as a share, NLL in nats.
    """
    order = site_order(table)
    columns = present_scopes(table)
    scopes = [scope for group in columns for scope in group]
    cost, measures = cost_of(table), measures_of(table)
    limits = [f"{cost.measure}_ci_low", f"{cost.measure}_ci_high"]
    missing = table.loc[table["scope"].isin(scopes), limits].isna().any(axis=None)
    note = NO_INTERVAL if cost == NLL else OWN_WITHOUT_INTERVAL
    wording = Wording(title, demo, caption, "site", "change", note if missing else "")
    styles = {WORDS[scope]: LOOKS[scope] for scope in scopes}
    width = style.DOUBLE_COLUMN if len(columns) > 1 else site_width(len(order))
    with framed(wording, styles, width, (len(measures), len(columns)), sharex=True) as (figure, grid):
        for axes_row, (measure, (words, factor)) in zip(grid, measures.items(), strict=True):
            for axes, group in zip(axes_row, columns, strict=True):
                _separate_stages(axes, table, order)
                for scope in group:
                    _draw_scope(axes, table[table["scope"] == scope], scope, order, measure, factor)
                axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
                axes.set_title(words)
        for axes in grid[-1]:
            name_sites(axes, order, NARROW if len(columns) > 1 else 2 * NARROW)
    return figure


def measures_of(table: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Return the measures of a table of interventions: `MEASURES`, or the user's metric."""
    cost = cost_of(table)
    if cost == NLL:
        return MEASURES
    return {cost.measure: (f"{cost.in_unit} ({'lower' if cost.lower_is_better else 'higher'} is better)", 1.0)}


def present_scopes(table: pd.DataFrame) -> list[list[str]]:
    """Return the scopes that have rows, in the groups that share panels: sites alone, and the others."""
    groups = [[scope for scope in group if (table["scope"] == scope).any()] for group in ([SITE], [CUMULATIVE, STAGE])]
    return [group for group in groups if group]


def site_order(table: pd.DataFrame) -> list[str]:
    """Return all replaced sites, in the order of the row that holds them all, else of the rows."""
    lists = [sites.split(",") for sites in table["sites"]]
    longest, alone = max(lists, key=len), [sites for sites in lists if len(sites) == 1]
    every = {site for sites in lists for site in sites}
    order = [longest] if set(longest) == every else [*alone, *lists]
    return list(dict.fromkeys(site for sites in order for site in sites))


def _separate_stages(axes: Axes, table: pd.DataFrame, order: list[str]) -> None:
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    for sites in table.loc[table["scope"] == STAGE, "sites"]:
        edge = order.index(sites.split(",")[0]) - 0.5
        if edge > 0:
            axes.axvline(edge, color=style.RULE, linewidth=0.8, zorder=0)


def _draw_scope(axes: Axes, rows: pd.DataFrame, scope: str, order: list[str], measure: str, factor: float) -> None:
    """Draw a point at the first site of each row, or a bar over its sites, with its interval."""
    look_of = LOOKS[scope]
    first, last = (np.array([order.index(sites.split(",")[end]) for sites in rows["sites"]]) for end in (0, -1))
    values, low, high = (factor * rows[f"{measure}_{name}"].to_numpy() for name in ("change", "ci_low", "ci_high"))
    positions = (first + last) / 2 if scope == STAGE else first
    axes.vlines(positions, low, high, color=look_of.color, linewidth=1.0, zorder=3)
    if scope == STAGE:
        axes.hlines(values, first - 0.35, last + 0.35, color=look_of.color, linewidth=look_of.linewidth, zorder=3)
        return
    ordered = np.argsort(positions)
    axes.plot(positions[ordered], values[ordered], **look_of.marked_line(3.2), zorder=4)


def intervention_classes(
    table: pd.DataFrame, *, demo: bool, title: str = "Interventions by class", caption: str | None = None
) -> Figure:
    """Draw the rise of NLL of each class (row) at each site alone (column), the largest at the top.

    The mean over sites orders classes. Colours are centred on no change and end where 2 % of the cells lie beyond, so
    that one cell does not bleach all others. Dots mark the cells whose interval excludes 0. For the user's
    metric the loss is drawn: its fall, or its rise if lower is better.

    Args:
        table: rows of `ablation_classes_table` with one replacement; changes of NLL in nats.
    """
    cost = cost_of(table)
    alone = table[(table["scope"] == SITE) & table[cost.change].notna()]
    loss, low, high = cost.losses(alone)
    alone = alone.assign(loss=loss, marked=(low > 0) | (high < 0))
    sites = list(alone["sites"].unique())
    cells = alone.pivot(index="class", columns="sites", values="loss")[sites]
    order = cells.mean(axis=1).sort_values(ascending=False).index
    values = cells.loc[order].to_numpy()
    dots = alone.pivot(index="class", columns="sites", values="marked").loc[order, sites].to_numpy(dtype=bool)
    reach = _reach(np.abs(values))
    beyond = int(np.sum(np.abs(values) > reach))
    notes = [SIGNIFICANT] if dots.any() else []
    notes += [f"Colours end at ±{reach:.2g}; cells beyond: {beyond}."] if beyond else []
    wording = Wording(title, demo, caption, "site replaced alone", note=" ".join(notes))
    height = 1 + -(-min(len(order), MOST_NAMES) // CLASSES_A_ROW)
    with framed(wording, {}, site_width(len(sites)), (1, 2), height, width_ratios=(30, 1)) as (figure, grid):
        axes, bar = grid[0]
        image = draw_matrix(axes, values, COLOURS, (-reach, reach))
        rows, columns = np.nonzero(dots)
        axes.plot(columns, rows, "o", color=style.TEXT, markersize=1.6, markeredgewidth=0)
        names = [textwrap.shorten(str(name), NAME_WIDTH, placeholder="…") for name in order]
        name_rows(axes, names, "hurt most at the top")
        style.upright_names(axes, sites, 2 * NARROW)
        add_colour_bar(figure, image, cost.loss_in_unit, cax=bar)
    return figure


def _reach(sizes: NDArray[np.float64]) -> float:
    return float(np.quantile(sizes, 0.98 if sizes.size >= FEWEST_CUT else 1.0)) or float(sizes.max()) or 1.0
