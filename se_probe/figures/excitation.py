"""Excitation curves: gates over channels by class, a panel per site or per branch of a site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from se_probe.figures import style
from se_probe.figures.classes import UNIT_LIMITS, add_colour_bar, channel_share, draw_matrix, name_size
from se_probe.figures.frame import Wording, filled, framed
from se_probe.figures.style import CurveStyle

COLUMNS = 3
DENSE = 100
"""Channels above which lines become spikes: strips of colours instead."""
MOST_STRIPS = 60
"""Classes above which strips have no names."""
TITLE_GAP = 6  # pixels at 100 dpi
MIRROR_NOTE = "Two branches share every channel, so that branch 0 is one minus branch 1, which is drawn."


def role_of_excitation(
    curves: pd.DataFrame, *, demo: bool, title: str = "Role of excitation", caption: str | None = None
) -> Figure:
    """Draw the mean gate over channels: a panel per site, a line per class and one for all classes.

    The y axis is 0 to 1 in every panel of a bounded gate, so that panels compare; an unbounded gate has its own scale.
    Competing branches have a panel each; of two branches that add up to one only the second is drawn. With more than
    six classes or 100 channels, lines cannot be told apart; a panel is then a strip of colours per class.

    Args:
        curves: table of `excitation_curves`: a mean gate for each site, class and channel.

    Source: Hu et al., Squeeze-and-Excitation Networks, "Role of Excitation".
    """
    panels, note = _split_into_panels(curves)
    return _draw_panels(panels, Wording(title, demo, caption, _x_label(curves), "mean gate", note))


def within_class(
    curves: pd.DataFrame,
    *,
    demo: bool,
    order: Sequence[str] = (),
    title: str = "Within-class variation",
    caption: str | None = None,
) -> Figure:
    """Draw the mean gate over channels, in a band of one standard deviation over images to either side.

    Panels and scales are those of `role_of_excitation`. Where gates are bounded, the band ends at 0 and 1, and the note
    says at how many points it would go beyond. A class with one image has a line and no band.

    Args:
        curves: table of `within_class_curves`: mean and standard deviation for each site, class and channel.
        order: the chosen classes, which gives each class the style that it has in `role_of_excitation`.

    Source: Hu et al., Squeeze-and-Excitation Networks, the within-class figure of the appendix.
    """
    panels, note = _split_into_panels(curves)
    shown = pd.concat([panel.rows for panel in panels if panel.unit] or [curves.iloc[:0]])
    beyond = int(((shown["mean"] - shown["std"] < 0) | (shown["mean"] + shown["std"] > 1)).sum())
    cut = f" Bands end at 0 and 1; at {beyond} of {len(shown)} points mean ± s.d. goes beyond." if beyond else ""
    wording = Wording(title, demo, caption, _x_label(curves), "gate: mean ± s.d.", f"{note}{cut}".strip())
    return _draw_panels(panels, wording, order, band=True)


@dataclass(frozen=True)
class _Panel:
    """One set of axes: the curves of a site, or of one branch of it."""

    title: str
    rows: pd.DataFrame

    @property
    def shown(self) -> int:
        """Number of channels on the x axis."""
        return int(self.rows["position"].max()) + 1

    @property
    def unit(self) -> bool:
        """Whether the y axis is 0 to 1, because the gate is bounded and every mean lies there."""
        return self.rows["activation"].iloc[0] != "unbounded" and bool(self.rows["mean"].between(0, 1).all())


def _split_into_panels(curves: pd.DataFrame) -> tuple[list[_Panel], str]:
    """Return a panel for each site or branch in order of appearance, and a note if a branch is left out.

    Of two branches whose means add up to one (softmax over the paths of SK or a radix of two) only the second is drawn,
    in SKNet the larger kernel, as in that paper's figures; the first is its mirror image.
    """
    panels: list[_Panel] = []
    note = ""
    for site, rows in curves.groupby("site", sort=False):
        branches = sorted(rows["branch"].unique())
        if len(branches) == 1:
            panels.append(_Panel(str(site), rows))
            continue
        sums = rows.groupby(["class", "channel"])["mean"].agg(["size", "sum"])
        if (sums["size"] == 2).all() and np.allclose(sums["sum"], 1, atol=1e-4):
            branches, note = branches[1:], MIRROR_NOTE
        panels += [_Panel(f"{site} · branch {branch}", rows[rows["branch"] == branch]) for branch in branches]
    return panels, note


def _draw_panels(
    panels: Sequence[_Panel], wording: Wording, order: Sequence[str] = (), *, band: bool = False
) -> Figure:
    """Draw the mean of every class in every panel, with a band of one standard deviation if asked for.

    Classes take their styles in `order`, then those not in it in the order of the table. With more classes than
    colours, or more channels than a line can show, panels are strips of means, or of standard deviations, instead.
    """
    rows = panels[0].rows
    classes = rows.loc[rows["role"] == "class", "class"].unique()
    if len(classes) > len(style.COLOURS) or max(panel.shown for panel in panels) > DENSE:
        return _draw_strips(panels, replace(wording, y_label=""), "std" if band else "mean")
    known = style.class_styles(list(dict.fromkeys([*order, *classes])))
    references = rows.loc[rows["role"] == "reference", "class"].unique()
    styles = {name: known[name] for name in classes} | dict.fromkeys(references, style.REFERENCE)
    columns = _columns(panels)
    shape = -(-len(panels) // columns), columns
    with framed(wording, styles, style.SINGLE_COLUMN if columns == 1 else style.DOUBLE_COLUMN, shape) as (figure, grid):
        shown = list(zip(filled(grid, len(panels)), panels, strict=True))
        titles = [_fill(axes, panel, styles, band) for axes, panel in shown]
        if all(panel.unit for panel in panels):
            for axes, _ in shown:
                axes.tick_params(labelleft=_is_first_column(axes))
    with style.house_style():
        for (axes, panel), title in zip(shown, titles, strict=True):
            _name_share(axes, panel, title)
    return figure


def _is_first_column(axes: Axes) -> bool:
    spec = axes.get_subplotspec()
    return spec is not None and spec.is_first_col()


def _draw_strips(panels: Sequence[_Panel], wording: Wording, column: str) -> Figure:
    """Draw every panel as a matrix of classes by channels, with one scale of colours for all."""
    values = pd.concat([panel.rows[column] for panel in panels])
    unit = column == "mean" and all(panel.unit for panel in panels)
    limits = (0.0, 1.0) if unit else (min(0.0, float(values.min())), float(values.max()))
    names = list(panels[0].rows["class"].unique())
    columns = 1 if len(panels) == 1 else 2
    shape = -(-len(panels) // columns), columns
    height = shape[0] * (0.6 + 0.055 * min(len(names), MOST_STRIPS))
    with framed(wording, {}, style.DOUBLE_COLUMN, shape, height) as (figure, grid):
        shown = list(zip(filled(grid, len(panels)), panels, strict=True))
        for axes, panel in shown:
            cells = panel.rows.pivot(index="class", columns="position", values=column).loc[names]
            image = draw_matrix(axes, cells.to_numpy(), "viridis", limits)
            named = names if _is_first_column(axes) and len(names) <= MOST_STRIPS else []
            axes.set_yticks(range(len(named)), named, fontsize=name_size(len(names)))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
            axes.set_title(panel.title)
        words = "mean gate" if column == "mean" else "standard deviation over images"
        add_colour_bar(figure, image, words, ax=[axes for axes, _ in shown], fraction=0.02, pad=0.01)
    return figure


def _x_label(curves: pd.DataFrame) -> str:
    sampled = (curves["channel"] != curves["position"]).any()
    return "sampled channels, in the order of their index" if sampled else "channel"


def _plot_class(axes: Axes, rows: pd.DataFrame, look: CurveStyle, *, band: bool, cut: bool) -> None:
    """Draw the mean of a class as a line with sparse markers, so that overlaid lines stay visible."""
    position, mean, std = (rows[name].to_numpy() for name in ("position", "mean", "std"))
    if band and rows["std"].notna().any():
        low, high = mean - std, mean + std
        if cut:
            low, high = low.clip(0, 1), high.clip(0, 1)
        axes.fill_between(position, low, high, color=look.color, alpha=0.28, linewidth=0)
    spacing = max(1, len(rows) // 10)
    markers = look.order * max(1, len(rows) // 50) % spacing, spacing
    name = rows["class"].iloc[0]
    axes.plot(position, mean, **look.marked_line(), markevery=markers, zorder=look.zorder, label=name)


def _columns(panels: Sequence[_Panel]) -> int:
    branches = len({panel.rows["branch"].iloc[0] for panel in panels})
    sites = len({panel.rows["site"].iloc[0] for panel in panels})
    if branches in (2, 4) and branches * sites == len(panels):
        return branches
    return 2 if len(panels) == 4 else min(len(panels), COLUMNS)


def _fill(axes: Axes, panel: _Panel, styles: Mapping[str, CurveStyle], band: bool) -> Text:
    """Draw the curves, set the scales and return the title."""
    for name, look in styles.items():
        rows = panel.rows[panel.rows["class"] == name].sort_values("position")
        _plot_class(axes, rows, look, band=band, cut=panel.unit)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlim(-0.02 * panel.shown, 1.02 * panel.shown - 1)
    if panel.unit:
        axes.set_ylim(*UNIT_LIMITS)
        axes.set_yticks(np.linspace(0, 1, 6))
    return axes.set_title(panel.title)


def _name_share(axes: Axes, panel: _Panel, title: Text) -> None:
    """State to the right of the title how many channels are shown, in the longest form that fits."""
    channels = int(panel.rows["site_channels"].iloc[0])
    for text in (channel_share(panel.shown, channels), f"{panel.shown}/{channels}", ""):
        right = style.quiet_title(axes, text)
        if title.get_window_extent().x1 + TITLE_GAP < right.get_window_extent().x0:
            break
