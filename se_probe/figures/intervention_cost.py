"""Intervention cost: change of accuracy and NLL, or of one's own measure, by site, from a site on, and by stage."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.analysis.outcomes import NLL, cost_of
from se_probe.figures import style
from se_probe.figures.by_site import NARROW, look, name_sites, points_look, site_width
from se_probe.figures.frame import Wording, framed
from se_probe.figures.style import CurveStyle

SITE, CUMULATIVE, STAGE = "site", "cumulative", "stage"
SCOPES = (SITE, CUMULATIVE, STAGE)
"""The scopes that have a place along the sites; others are in the table only."""
LOOKS = {SITE: points_look(0), CUMULATIVE: look(4), STAGE: replace(look(2), marker=None, linewidth=1.6)}
WORDS = {SITE: "this site alone", CUMULATIVE: "from this site to the last", STAGE: "a whole stage"}
MEASURES = {"top1": ("top1_change", "top-1 accuracy, points", 100.0), "nll": ("nll_change", "NLL, nats", 1.0)}
"""Of each measure its change, what the panel is called, and the factor that puts it into that unit."""
NO_INTERVAL = "Without a bar: no interval, because no output changed or too few images have a known class."
OWN_WITHOUT_INTERVAL = "Without a bar: no interval, because every image changed by the same or too few were measured."


def intervention_cost(
    table: pd.DataFrame, *, demo: bool, title: str = "Intervention cost", caption: str | None = None
) -> Figure:
    """Draw the change of top-1 accuracy above and of NLL below, with 95 % intervals, over sites in network order.

    `table` holds the rows of `ablation_sites_table` with one replacement. The left panels show each site alone. The
    right panels show sites replaced from the last backwards, as a point at the first of them, and whole stages, as a
    line over their sites. Grey lines separate the stages. One's own measure has one row of panels, in its unit.

    Args:
        table: rows of `ablation_sites_table` with one replacement; top-1 as a share, NLL in nats.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    order = site_order(table)
    groups = [[SITE], [CUMULATIVE, STAGE]]
    columns = [[scope for scope in group if (table["scope"] == scope).any()] for group in groups]
    columns = [group for group in columns if group]
    scopes = [scope for group in columns for scope in group]
    cost, measures = cost_of(table), measures_of(table)
    limits = [f"{cost.measure}_ci_low", f"{cost.measure}_ci_high"]
    missing = table.loc[table["scope"].isin(scopes), limits].isna().any(axis=None)
    note = (NO_INTERVAL if cost == NLL else OWN_WITHOUT_INTERVAL) if missing else None
    wording = Wording(title, "site", "change", caption, note, demo)
    styles = {WORDS[scope]: LOOKS[scope] for scope in scopes}
    width = style.DOUBLE_COLUMN if len(columns) > 1 else site_width(len(order))
    with framed(wording, styles, width, (len(measures), len(columns)), sharex=True) as (figure, grid):
        for axes_row, (change, words, factor) in zip(grid, measures.values(), strict=True):
            for axes, group in zip(axes_row, columns, strict=True):
                _draw(axes, table, group, order, (change, factor))
                axes.set_title(words, loc="left", fontweight="bold", pad=4)
        for axes in grid[-1]:
            name_sites(axes, order, NARROW if len(columns) > 1 else 2 * NARROW)
    return figure


def measures_of(table: pd.DataFrame) -> dict[str, tuple[str, str, float]]:
    """Return what a table of interventions has of `MEASURES`, or one's own measure in their place."""
    cost = cost_of(table)
    if cost == NLL:
        return MEASURES
    better = "lower" if cost.lower_is_better else "higher"
    return {cost.measure: (cost.change, f"{cost.in_unit} ({better} is better)", 1.0)}


def site_order(table: pd.DataFrame) -> list[str]:
    """Return all replaced sites, in the order of the row that holds them all, else of the rows."""
    lists = [sites.split(",") for sites in table["sites"]]
    longest, alone = max(lists, key=len), [sites for sites in lists if len(sites) == 1]
    every = {site for sites in lists for site in sites}
    order = [longest] if set(longest) == every else [*alone, *lists]
    return list(dict.fromkeys(site for sites in order for site in sites))


def _draw(axes: Axes, table: pd.DataFrame, scopes: Sequence[str], order: list[str], measure: tuple[str, float]) -> None:
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    for sites in table.loc[table["scope"] == STAGE, "sites"]:
        edge = order.index(sites.split(",")[0]) - 0.5
        if edge > 0:
            axes.axvline(edge, color=style.RULE, linewidth=0.8, zorder=0)
    for scope in scopes:
        rows = table[table["scope"] == scope]
        spans = np.array([[order.index(sites.split(",")[end]) for end in (0, -1)] for sites in rows["sites"]])
        _points(axes, rows, spans, LOOKS[scope], measure, scope)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _points(
    axes: Axes, rows: pd.DataFrame, spans: np.ndarray, look_of: CurveStyle, measure: tuple[str, float], scope: str
) -> None:
    """A point at the first site of each row, or a bar over its sites, with its interval."""
    change, factor = measure
    name = change.removesuffix("_change")
    values, low, high = (factor * rows[column].to_numpy() for column in (change, f"{name}_ci_low", f"{name}_ci_high"))
    places = spans.mean(axis=1) if scope == STAGE else spans[:, 0]
    axes.vlines(places, low, high, color=look_of.color, linewidth=1.0, zorder=3)
    if scope == STAGE:
        axes.hlines(
            values, spans[:, 0] - 0.35, spans[:, 1] + 0.35, color=look_of.color, linewidth=look_of.linewidth, zorder=3
        )
        return
    ordered = np.argsort(places)
    axes.plot(
        places[ordered],
        values[ordered],
        color=look_of.color,
        linestyle=look_of.linestyle,
        linewidth=look_of.linewidth,
        marker=look_of.marker,
        markersize=3.2,
        markeredgewidth=0,
        zorder=4,
    )
