"""Comparison profiles: class specificity, spread and saturation of several networks over relative depth."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed
from se_probe.figures.style import CurveStyle, class_styles

PANELS = {
    "between_class_sd": "SD between class means",
    "dynamic": "channels whose gates move",
    "within_class_sd": "SD between images of a class",
    "open": "channels that stay open",
    "specificity": "class specificity ω²",
    "closed": "channels that stay closed",
}
HOLLOW = "Hollow: most channels of the site hardly move."
SPREADS = ("between_class_sd", "within_class_sd")
OVER = {
    "classes": "Bands of ω²: 95 % interval over classes.",
    "images": "Bands of ω²: 95 % interval over images of these classes.",
}
SMALLEST = 1e-5  # gate units; what is smaller is drawn here, for a logarithm


def comparison_profiles(
    sites: pd.DataFrame, *, demo: bool, title: str = "Comparison profiles by relative depth", caption: str | None = None
) -> Figure:
    """Draw specificity, spread and states of channels of each run over relative depth, a line per run.

    `sites` is the table of `Comparison.sites`. The left panels show the standard deviations, in gate units, and below
    them the share of variance between classes; the right panels the shares of channels in each state. Sites whose gates
    are not live have hollow markers.
    """
    looks = class_styles(list(sites["run"].unique()))
    note = " ".join([OVER[str(sites["specificity_over"].iloc[0])], *([HOLLOW] if _still(sites).any() else [])])
    wording = Wording(title, "relative depth of the site", "share, or gate units (SD)", caption, note, demo)
    with framed(wording, looks, style.DOUBLE_COLUMN, (3, 2), sharex=True) as (figure, grid):
        for axes, (column, name) in zip(grid.ravel(), PANELS.items(), strict=True):
            for run, rows in sites.groupby("run", sort=False):
                _plot(axes, rows, column, looks[str(run)])
            axes.set_title(name, loc="left", fontweight="bold", pad=4)
            _scale(axes, sites, column)
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
    shown = np.maximum(values, SMALLEST) if column in SPREADS else values
    axes.plot(depth, shown, **look.marked_line(), clip_on=False)
    still = _still(rows).to_numpy()
    if still.any():
        hollow = replace(look, linestyle="none").marked_line() | {"markerfacecolor": "white", "markeredgewidth": 0.7}
        axes.plot(depth[still], shown[still], **hollow, clip_on=False, zorder=4)


def _still(sites: pd.DataFrame) -> pd.Series:
    return sites["verdict"] != "live"


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
