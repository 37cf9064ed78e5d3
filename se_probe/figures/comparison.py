"""The comparison figure: class specificity, spread and saturation of several networks over relative depth."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.figures import style
from se_probe.figures.frame import Wording, add_frame
from se_probe.figures.notebook_figure import NotebookFigure
from se_probe.figures.settle import freeze_layout
from se_probe.figures.style import CurveStyle, class_styles

PANELS = {
    "specificity": "class specificity ω²",
    "dynamic": "channels whose gates move",
    "between_class_sd": "SD between class means",
    "open": "channels that stay open",
    "within_class_sd": "SD between images of a class",
    "closed": "channels that stay closed",
}
SPREADS = ("between_class_sd", "within_class_sd")
OVER = {
    "classes": "bands of ω²: 95 % for another draw of classes",
    "images": "bands of ω²: 95 % for another draw of images of these classes",
}
SMALLEST = 1e-5  # gate units; what is smaller is drawn here, for a logarithm


def comparison_profiles(
    sites: pd.DataFrame, *, demo: bool, title: str = "Gates by relative depth", caption: str | None = None
) -> Figure:
    """What the gates of each run do at each site over relative depth, a line a run.

    `sites` is the table of `Comparison.sites`. On the left the share of variance between classes, and below it the
    standard deviations that it is a share of, in gate units; on the right the shares of channels in each state.
    """
    looks = class_styles(list(sites["run"].unique()))
    with style.house_style():
        figure = NotebookFigure(figsize=(style.DOUBLE_COLUMN, 3))
        grid = figure.subplots(3, 2, sharex=True).ravel()
        for axes, (column, name) in zip(grid, PANELS.items(), strict=True):
            for run, rows in sites.groupby("run", sort=False):
                _plot(axes, rows, column, looks[str(run)])
            axes.set_title(name, loc="left", fontweight="bold", pad=4)
            _scale(axes, sites, column)
        note = OVER[str(sites["specificity_over"].iloc[0])]
        wording = Wording(title, "relative depth of the site", "share, or gate units (SD)", caption, note, demo)
        add_frame(figure, wording, looks, 3)
        freeze_layout(figure)
    return figure


def _plot(axes: Axes, rows: pd.DataFrame, column: str, look: CurveStyle) -> None:
    depth, values = rows["depth"].to_numpy(), rows[column].to_numpy(dtype=np.float64)
    if column == "specificity" and rows["specificity_ci_low"].notna().any():
        axes.fill_between(
            depth,
            rows["specificity_ci_low"].to_numpy(),
            rows["specificity_ci_high"].to_numpy(),
            color=look.color,
            alpha=0.16,
            linewidth=0,
        )
    axes.plot(
        depth,
        np.maximum(values, SMALLEST) if column in SPREADS else values,
        **look.marked_line(),
        clip_on=False,
    )


def _scale(axes: Axes, sites: pd.DataFrame, column: str) -> None:
    if column in SPREADS:
        axes.set_yscale("log")
        axes.minorticks_off()
        # One scale for both spreads.
        known = sites[list(SPREADS)].to_numpy(dtype=np.float64)
        known = np.maximum(known[np.isfinite(known)], SMALLEST)
        if known.size:
            axes.set_ylim(10 ** np.floor(np.log10(known.min())), 10 ** np.ceil(np.log10(known.max())))
        return
    # An interval far below 0 says no more than one that just reaches below.
    axes.set_ylim(-0.2 if column == "specificity" else 0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
