"""The distribution of one channel's gate over the images of each class."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed
from se_probe.figures.panels import UNIT_LIMITS

GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio fill a unit interval evenly, in any number."""
NOTE = "Dot: an image. Box: quartiles and median. Whiskers: range."


def channel_distribution(
    gates: pd.DataFrame, *, demo: bool, title: str = "Channel distribution by class", caption: str | None = None
) -> Figure:
    """Draw the gates of single images, a row of dots per class, with median, quartiles and range.

    `gates` is the table of `channel_gates`. The x axis is 0 to 1 where gates are bounded. The vertical position of a
    dot within its row has no meaning.

    Args:
        gates: table of `channel_gates`: the gate of each image in one channel, with its class.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    first = gates.iloc[0]
    names = list(gates["class"].unique())
    branch = f" · branch {first['branch']}" if gates["branch"].iloc[0] or "softmax" in first["activation"] else ""
    wording = Wording(title, "gate", "", caption, NOTE, demo)
    with framed(wording, {}, style.SINGLE_COLUMN, (1, 1), 1 + len(names) // 8) as (figure, grid):
        axes = grid[0, 0]
        for row, (name, look) in enumerate(style.class_styles(names).items()):
            _draw_row(axes, gates.loc[gates["class"] == name, "gate"].to_numpy(), row, look.color)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.45, -0.55)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        if first["activation"] != "unbounded" and gates["gate"].between(0, 1).all():
            axes.set_xlim(*UNIT_LIMITS)
        axes.set_title(f"{first['site']}{branch} · channel {first['channel']}", loc="left", fontweight="bold", pad=4)
    return figure


def _draw_row(axes: Axes, values: np.ndarray, row: int, colour: str) -> None:
    across = (np.arange(len(values)) * GOLDEN % 1 - 0.5) * 0.5
    axes.plot(
        values, row + across, linestyle="none", marker="o", markersize=2.2, color=colour, alpha=0.55, markeredgewidth=0
    )
    line = {"color": style.TEXT, "linewidth": 0.7}
    axes.boxplot(
        [values],
        positions=[row],
        widths=0.62,
        orientation="horizontal",
        whis=(0, 100),
        manage_ticks=False,
        showfliers=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={"color": style.TEXT, "linewidth": 1.4},
        zorder=4,
    )
