"""Scatter plots of sites by what replacing their gates costs: against what it saves, and against class specificity."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from se_probe.analysis.outcomes import cost_of
from se_probe.figures import style
from se_probe.figures.by_site import look
from se_probe.figures.frame import Wording, framed
from se_probe.figures.interventions import CUMULATIVE, SITE, STAGE, measures_of, present_scopes
from se_probe.figures.profiles import hollow_note
from se_probe.figures.style import CurveStyle

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
ESTIMATE = ["value", "low", "high"]
NAME_SIZE = 6
RADII = (4, 9, 15, 22, 30, 40, 52)
DIRECTIONS = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
"""Across and up; slanting first, since intervals run the other ways."""
POINT_SIDE, BAR_SIDE = 5, 1
"""Pixels at 100 dpi: side of a point's marker, half the width of a bar."""
Bars = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def intervention_savings(
    table: pd.DataFrame, *, demo: bool, title: str = "Intervention savings", caption: str | None = None
) -> Figure:
    """Draw the change of top-1 accuracy, with 95 % intervals, over parameters and multiply–adds saved, on log axes.

    Rows that save nothing are left out. The upper panels show single sites, named unless there are very many; sites
    that save the same stand side by side. The lower panels show sites from the last backwards and whole stages. The
    user's metric replaces accuracy.

    Args:
        table: rows of `ablation_sites_table` with one replacement and the columns of `with_savings`.
    """
    measure, (words, factor) = next(iter(measures_of(table).items()))
    shown = table[table["parameters_saved"].gt(0) & table["multiply_adds_saved"].gt(0)].copy()
    shown[ESTIMATE] = factor * shown[[f"{measure}_{end}" for end in ("change", "ci_low", "ci_high")]]
    groups = present_scopes(shown)
    wording = Wording(title, demo, caption, "saved", words, "Sites that save the same stand side by side.")
    looks = {WORDS[scope]: LOOKS[scope] for group in groups for scope in group}
    shape, height = (len(groups), len(SAVINGS)), 1.5 * len(groups)
    with framed(wording, looks, style.DOUBLE_COLUMN, shape, height, sharey="row") as (figure, grid):
        for axes_row, scopes in zip(grid, groups, strict=True):
            for axes, column in zip(axes_row, SAVINGS, strict=True):
                axes.axhline(0, color=style.QUIET, linewidth=0.6)
                for scope in scopes:
                    rows = shown[shown["scope"] == scope].sort_values(column, kind="stable")
                    saved = _apart(rows[column]) if scope == SITE else rows[column].to_numpy(dtype=np.float64)
                    axes.vlines(saved, rows["low"], rows["high"], **_bars(LOOKS[scope], 0.8))
                    axes.plot(saved, rows["value"].to_numpy(), **LOOKS[scope].marked_line(3.4), zorder=3)
                _scale(axes, shown.loc[shown["scope"].isin(scopes), column])
        for axes, name in zip(grid[0], SAVINGS.values(), strict=True):
            axes.set_title(name)
    alone = shown[shown["scope"] == SITE]
    if 0 < len(alone) <= MOST_NAMES:
        for axes, column in zip(grid[0], SAVINGS, strict=True):
            rows = alone.sort_values(column, kind="stable")
            x, (y, low, high) = _apart(rows[column]), rows[ESTIMATE].to_numpy(dtype=np.float64).T
            name_points(axes, x, y, rows["sites"].tolist(), [(x, x, low, high)])
    return figure


def _bars(look_of: CurveStyle, alpha: float) -> dict[str, Any]:
    return {"color": look_of.color, "linewidth": 0.8, "alpha": alpha, "zorder": 2}


def _apart(saved: pd.Series) -> NDArray[np.float64]:
    """Return sorted savings with equal ones spread side by side, by `STEP` on the log axis."""
    groups = saved.groupby(saved)
    offset = groups.cumcount() - (groups.transform("size") - 1) / 2
    return np.asarray(saved.to_numpy(dtype=np.float64) * STEP ** offset.to_numpy(dtype=np.float64))


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

    Sites whose gates are not live have hollow points. ω² has its interval over classes. The loss of the user's metric
    replaces the rise of NLL.

    Args:
        table: table of `site_importance`: one row per site.
        correlations: Spearman's correlation over sites by column of the measure, which its panel states.
    """
    cost = cost_of(table)
    table = table.assign(**dict(zip(ESTIMATE, cost.losses(table), strict=True)))
    wording = Wording(title, demo, caption, "class specificity", cost.loss_in_unit, hollow_note(table))
    with framed(wording, {}, style.DOUBLE_COLUMN, (1, len(SPECIFICITY)), 2, sharey=True) as (figure, grid):
        for axes, (column, words) in zip(grid[0], SPECIFICITY.items(), strict=True):
            _draw_importance(axes, table, column)
            axes.set_title(words)
            if correlations and column in correlations:
                style.quiet_title(axes, f"Spearman {correlations[column]:+.2f}")
    if len(table) <= MOST_NAMES:
        for axes, column in zip(grid[0], SPECIFICITY, strict=True):
            known = table.dropna(subset=[column, "value"])
            numbers = known[[column, *ESTIMATE, "ci_low", "ci_high"]].to_numpy(dtype=np.float64)
            x, y, low, high, left, right = numbers.T
            bars = [(x, x, low, high)] + ([(left, right, y, y)] if column == "omega_squared" else [])
            name_points(axes, x, y, known["site"].tolist(), bars)
    return figure


def _draw_importance(axes: Axes, table: pd.DataFrame, column: str) -> None:
    points, hollow = look(0).points(), table["verdict"] != "live"
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    axes.vlines(table[column], table["low"], table["high"], **_bars(points, 0.7))
    if column == "omega_squared":
        thin = {**_bars(points, 0.4), "linewidth": 0.5}
        axes.hlines(table["value"], table["ci_low"], table["ci_high"], **thin)
    for rows, is_hollow in ((table[~hollow], False), (table[hollow], True)):
        axes.plot(rows[column], rows["value"], **points.marked_line(3.6, hollow=is_hollow))
    axes.margins(x=0.12, y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))


def name_points(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], names: Sequence[str], bars: Sequence[Bars] = ()
) -> None:
    """Write each name near its point, clear of points, interval bars and other names.

    A thin line joins a distant name with its point. The figure must be laid out. `bars` are interval bars as (x from,
    x to, y from, y to), in data units. A name for which there is no room overlaps others: none is left out.
    """
    half = POINT_SIDE / 2
    points = axes.transData.transform(np.column_stack([x, y]))
    taken = [Bbox.from_bounds(left - half, below - half, POINT_SIDE, POINT_SIDE) for left, below in points]
    for left, right, low, high in bars:
        ends = axes.transData.transform(np.column_stack([np.r_[left, right], np.r_[low, high]]))
        for (x0, y0), (x1, y1) in zip(ends[: len(x)], ends[len(x) :], strict=True):
            if np.isfinite([x0, y0, x1, y1]).all():
                taken.append(Bbox([[x0 - BAR_SIDE, y0 - BAR_SIDE], [x1 + BAR_SIDE, y1 + BAR_SIDE]]))
    for point, name in zip(zip(x, y, strict=True), names, strict=True):
        taken.append(_box(_placed(axes, point, name, taken)))


def _placed(axes: Axes, point: tuple[float, float], name: str, taken: Sequence[Bbox]) -> Annotation:
    frame = axes.get_window_extent()
    for offset in _offsets():
        label = _label(axes, point, name, offset)
        box = _box(label)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(box.overlaps(other) for other in taken):
            return label
        label.remove()
    return _label(axes, point, name, (RADII[0], 0))


def _box(label: Annotation) -> Bbox:
    """The extent of the name alone, without the line to its point, which may cross others."""
    label.get_window_extent()  # positions the name
    return Text.get_window_extent(label)


def _offsets() -> Iterator[tuple[float, float]]:
    for radius in RADII:
        for across, up in DIRECTIONS:
            length = np.hypot(across, up)
            yield radius * across / length, radius * up / length


def _label(axes: Axes, point: tuple[float, float], name: str, offset: tuple[float, float]) -> Annotation:
    across, up = offset
    far = np.hypot(across, up) > RADII[1]
    return axes.annotate(
        name,
        point,
        xytext=offset,
        textcoords="offset points",
        ha="left" if across > 0.1 else "right" if across < -0.1 else "center",
        va="bottom" if up > 0.1 else "top" if up < -0.1 else "center",
        fontsize=NAME_SIZE,
        color=style.TEXT,
        arrowprops={"arrowstyle": "-", "color": style.QUIET, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        if far
        else None,
        zorder=5,
    )
