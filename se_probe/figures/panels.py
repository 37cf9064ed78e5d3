"""The grid of panels that the excitation figures share: one for each site, or for each branch of a site."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from se_probe.figures import style
from se_probe.figures.frame import Wording, add_frame
from se_probe.figures.notebook_figure import NotebookFigure
from se_probe.figures.settle import freeze_layout
from se_probe.figures.style import CurveStyle

COLUMNS = 3
DENSE = 100  # points on a line above which it gets thinner
TITLE_GAP = 6  # pixels at 100 dpi
UNIT_LIMITS = (-0.03, 1.03)
MIRROR_NOTE = "Two branches share every channel, so that branch 0 is one minus branch 1, which is drawn."

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
        bounded = self.rows["activation"].iloc[0] != "unbounded"
        return bounded and bool(self.rows["mean"].between(0, 1).all())


def split_into_panels(curves: pd.DataFrame) -> tuple[list[Panel], str | None]:
    """A panel for each site or branch in order of appearance, and a note where a branch is left out.

    Of two branches whose means add up to one (softmax over the paths of SK or a radix of two) only the second
    is drawn, in SKNet the larger kernel, as in that paper's figures: the first is its mirror image. Other
    branches get a panel each.
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


def draw_panels(panels: Sequence[Panel], wording: Wording, draw: Draw, order: Sequence[str] = ()) -> Figure:
    """A figure at its printed size in which `draw` has drawn every class of every panel.

    Classes take their styles in `order`, those not in it after that in the order of the table.
    """
    with style.house_style():
        styles = _styles(panels[0].rows, order)
        columns = _columns(panels)
        rows = -(-len(panels) // columns)
        figure = NotebookFigure(figsize=(style.SINGLE_COLUMN if columns == 1 else style.DOUBLE_COLUMN, rows))
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for unused in grid[len(panels) :]:
            unused.remove()
        shown = list(zip(grid, panels, strict=False))
        titles = [_fill(axes, panel, styles, draw) for axes, panel in shown]
        if all(panel.unit for panel in panels):
            for axes, _ in shown:
                axes.tick_params(labelleft=axes.get_subplotspec().is_first_col())
        add_frame(figure, wording, styles, rows)
        freeze_layout(figure)  # makes the ticks too, which take the style of the moment
        for (axes, panel), title in zip(shown, titles, strict=True):
            _name_share(axes, panel, title)
    return figure


def x_label(curves: pd.DataFrame) -> str:
    """What the x axis counts: channels themselves, or the sampled ones."""
    sampled = (curves["channel"] != curves["position"]).any()
    return "sampled channels, in the order of their index" if sampled else "channel"


def plot_mean(axes: Axes, rows: pd.DataFrame, look: CurveStyle) -> None:
    """One line: the mean of a class over the positions, with sparse markers so that overlaid lines show."""
    points = len(rows)
    spacing = max(1, points // 10)
    axes.plot(
        rows["position"].to_numpy(),
        rows["mean"].to_numpy(),
        color=look.color,
        linestyle=look.linestyle,
        linewidth=look.linewidth * min(1, (DENSE / points) ** 0.5),
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
    """Say to the right of the title how many channels are shown, as briefly as the room there asks for."""
    channels = int(panel.rows["site_channels"].iloc[0])
    share = f"{panel.shown} of {channels} channels" if panel.shown < channels else f"all {channels} channels"
    for text in (share, f"{panel.shown}/{channels}", ""):
        right = axes.set_title(text, loc="right", fontsize=style.SMALL_TEXT, color=style.QUIET, pad=4)
        if title.get_window_extent().x1 + TITLE_GAP < right.get_window_extent().x0:
            break
