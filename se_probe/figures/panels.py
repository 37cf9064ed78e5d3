"""The grid of panels of the excitation figures: one per site, or per branch of a site."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed
from se_probe.figures.matrix import draw_matrix, name_size
from se_probe.figures.style import CurveStyle

COLUMNS = 3
DENSE = 100
"""Channels above which lines become spikes: strips of colours instead."""
TITLE_GAP = 6  # pixels at 100 dpi
UNIT_LIMITS = (-0.03, 1.03)
MIRROR_NOTE = "Two branches share every channel, so that branch 0 is one minus branch 1, which is drawn."

MOST_STRIPS = 60
"""Classes above which strips have no names."""

Draw = Callable[[Axes, pd.DataFrame, CurveStyle], None]


@dataclass(frozen=True)
class Panel:
    """One set of axes: the curves of a site, or of one branch of it."""

    title: str
    rows: pd.DataFrame

    @property
    def shown(self) -> int:
        """Number of channels on the x axis."""
        return int(self.rows["position"].max()) + 1

    @property
    def unit(self) -> bool:
        """Whether the y axis is 0 to 1: the gate is bounded, and no mean leaves that range."""
        return in_unit_range(self.rows)


def in_unit_range(rows: pd.DataFrame) -> bool:
    """Return whether a gate is bounded and every mean lies between 0 and 1."""
    return rows["activation"].iloc[0] != "unbounded" and bool(rows["mean"].between(0, 1).all())


def split_into_panels(curves: pd.DataFrame) -> tuple[list[Panel], str | None]:
    """Return a panel for each site or branch in order of appearance, and a note if a branch is left out.

    Of two branches whose means add up to one (softmax over the paths of SK or a radix of two) only the second is drawn,
    in SKNet the larger kernel, as in that paper's figures; the first is its mirror image.
    """
    panels: list[Panel] = []
    note = None
    for site, rows in curves.groupby("site", sort=False):
        branches = sorted(rows["branch"].unique())
        if len(branches) == 1:
            panels.append(Panel(str(site), rows))
            continue
        if _mirrored(rows):
            branches, note = branches[1:], MIRROR_NOTE
        panels += [Panel(f"{site} · branch {branch}", rows[rows["branch"] == branch]) for branch in branches]
    return panels, note


def draw_panels(
    panels: Sequence[Panel], wording: Wording, draw: Draw, order: Sequence[str] = (), *, strips: str = "mean"
) -> Figure:
    """Return a figure in which `draw` has drawn every class of every panel.

    Classes take their styles in `order`, those not in it after that in the order of the table. With more classes than
    colours, or more channels than a line can show, panels are strips of the column `strips` instead.
    """
    rows = panels[0].rows
    if (
        rows.loc[rows["role"] == "class", "class"].nunique() > len(style.COLOURS)
        or max(panel.shown for panel in panels) > DENSE
    ):
        return _draw_strips(panels, replace(wording, y_label=""), strips)
    styles = _styles(rows, order)
    columns = _columns(panels)
    shape = -(-len(panels) // columns), columns
    with framed(wording, styles, style.SINGLE_COLUMN if columns == 1 else style.DOUBLE_COLUMN, shape) as (figure, grid):
        shown = _shown(grid, panels)
        titles = [_fill(axes, panel, styles, draw) for axes, panel in shown]
        if all(panel.unit for panel in panels):
            for axes, _ in shown:
                axes.tick_params(labelleft=_is_first_column(axes))
    with style.house_style():
        for (axes, panel), title in zip(shown, titles, strict=True):
            _name_share(axes, panel, title)
    return figure


def _shown(grid: NDArray[np.object_], panels: Sequence[Panel]) -> list[tuple[Axes, Panel]]:
    """Return the axes with their panels, and remove the axes that are left over."""
    for unused in grid.ravel()[len(panels) :]:
        unused.remove()
    return list(zip(grid.ravel(), panels, strict=False))


def _is_first_column(axes: Axes) -> bool:
    place = axes.get_subplotspec()
    return place is not None and place.is_first_col()


def _draw_strips(panels: Sequence[Panel], wording: Wording, column: str) -> Figure:
    """Draw every panel as a matrix of classes by channels, with one scale of colours for all."""
    values = pd.concat([panel.rows[column] for panel in panels])
    unit = column == "mean" and all(panel.unit for panel in panels)
    limits = (0.0, 1.0) if unit else (min(0.0, float(values.min())), float(values.max()))
    names = list(panels[0].rows["class"].unique())
    columns = 1 if len(panels) == 1 else 2
    shape = -(-len(panels) // columns), columns
    height = shape[0] * (0.6 + 0.055 * min(len(names), MOST_STRIPS))
    with framed(wording, {}, style.DOUBLE_COLUMN, shape, height) as (figure, grid):
        shown = _shown(grid, panels)
        for axes, panel in shown:
            cells = panel.rows.pivot(index="class", columns="position", values=column).loc[names]
            image = draw_matrix(axes, cells.to_numpy(), "viridis", limits)
            named = _is_first_column(axes) and len(names) <= MOST_STRIPS
            axes.set_yticks(range(len(names)) if named else [], names if named else [], fontsize=name_size(len(names)))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
            axes.set_title(panel.title, loc="left", fontweight="bold", pad=4)
        bar = figure.colorbar(image, ax=[axes for axes, _ in shown], fraction=0.02, pad=0.01)
        bar.outline.set_visible(False)
        bar.ax.grid(False)
        bar.set_label("mean gate" if column == "mean" else "standard deviation over images")
    return figure


def x_label(curves: pd.DataFrame) -> str:
    """Return the label of the x axis: channels, or sampled channels."""
    sampled = (curves["channel"] != curves["position"]).any()
    return "sampled channels, in the order of their index" if sampled else "channel"


def plot_mean(axes: Axes, rows: pd.DataFrame, look: CurveStyle) -> None:
    """Draw the mean of a class as a line with sparse markers, so that overlaid lines stay visible."""
    points = len(rows)
    spacing = max(1, points // 10)
    axes.plot(
        rows["position"].to_numpy(),
        rows["mean"].to_numpy(),
        color=look.color,
        linestyle=look.linestyle,
        linewidth=look.linewidth,
        marker=look.marker,
        markersize=3,
        markeredgewidth=0,
        markevery=(look.order * max(1, points // 50) % spacing, spacing),
        zorder=look.zorder,
        label=rows["class"].iloc[0],
    )


def _mirrored(rows: pd.DataFrame) -> bool:
    sums = rows.groupby(["class", "channel"])["mean"].agg(["size", "sum"])
    return bool((sums["size"] == 2).all() and np.allclose(sums["sum"], 1, atol=1e-4))


def _styles(rows: pd.DataFrame, order: Sequence[str]) -> dict[str, CurveStyle]:
    names = list(rows.loc[rows["role"] == "class", "class"].unique())
    references = list(rows.loc[rows["role"] == "reference", "class"].unique())
    known = style.class_styles(list(dict.fromkeys([*order, *names])))
    return {name: known[name] for name in names} | dict.fromkeys(references, style.REFERENCE)


def _columns(panels: Sequence[Panel]) -> int:
    branches = len({panel.rows["branch"].iloc[0] for panel in panels})
    sites = len({panel.rows["site"].iloc[0] for panel in panels})
    if branches in (2, 4) and branches * sites == len(panels):
        return branches
    return 2 if len(panels) == 4 else min(len(panels), COLUMNS)


def _fill(axes: Axes, panel: Panel, styles: Mapping[str, CurveStyle], draw: Draw) -> Text:
    """Draw the curves, set the scales and return the title."""
    for name, look in styles.items():
        draw(axes, panel.rows[panel.rows["class"] == name].sort_values("position"), look)
    shown = panel.shown
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlim(-0.02 * shown, 1.02 * shown - 1)
    if panel.unit:
        axes.set_ylim(*UNIT_LIMITS)
        axes.set_yticks(np.linspace(0, 1, 6))
    return axes.set_title(panel.title, loc="left", fontweight="bold", pad=4)


def _name_share(axes: Axes, panel: Panel, title: Text) -> None:
    """State to the right of the title how many channels are shown, in the longest form that fits."""
    channels = int(panel.rows["site_channels"].iloc[0])
    share = f"{panel.shown} of {channels} channels" if panel.shown < channels else f"all {channels} channels"
    for text in (share, f"{panel.shown}/{channels}", ""):
        right = axes.set_title(text, loc="right", fontsize=style.SMALL_TEXT, color=style.QUIET, pad=4)
        if title.get_window_extent().x1 + TITLE_GAP < right.get_window_extent().x0:
            break
