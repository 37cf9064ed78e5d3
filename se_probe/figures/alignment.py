"""Alignment: similarity between the gates of every pair of sites of two networks."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import NDArray

from se_probe.analysis.stats.moments import Floats
from se_probe.figures import style
from se_probe.figures.frame import Wording, framed
from se_probe.figures.style import CurveStyle, class_styles

MEASURES = {"cka": "CKA over images", "rsa": "RSA over classes"}
COLOUR_MAP = "cividis"
MOST_NAMES = 28  # names of sites that fit along an axis
SITES_A_ROW = 8  # names of sites that fit beside a panel of usual height
SMALLEST = 1e-5  # gate units; what is smaller is drawn here, for a logarithm
STILL = ("collapsed", "constant", "saturated")


def alignment(
    table: pd.DataFrame, *, demo: bool, title: str = "Alignment of representations", caption: str | None = None
) -> Figure:
    """Draw heat maps of CKA and, if available, RSA between the sites of two runs, beside the spread of their gates.

    `table` is that part of `Comparison.alignment` which is about one pair of runs. Since both measures are blind
    to scale, the standard deviation of the gates over images stands beside each axis, and a site whose gates
    hardly move has its name in parentheses. A dot marks the most alike site of the other network in each row.

    Source: Kornblith et al., Similarity of neural network representations revisited, ICML 2019.
    """
    runs = [str(table[side].iloc[0]) for side in ("first", "other")]
    looks = class_styles(runs)
    shown = [name for name in MEASURES if table[name].notna().any()] or ["cka"]
    wording = Wording(title, f"sites of {runs[1]}", f"sites of {runs[0]}", caption, _note(table), demo)
    height = max(3, 1 + math.ceil(table["first_site"].nunique() / SITES_A_ROW))
    options = {
        "sharex": "col",
        "sharey": "row",
        "gridspec_kw": {"width_ratios": [*(1.0 for _ in shown), 0.3], "height_ratios": [0.25, 1.0]},
    }
    with framed(wording, looks, style.DOUBLE_COLUMN, (2, len(shown) + 1), height, **options) as (figure, grid):
        grid[0, -1].set_axis_off()
        for column, name in enumerate(shown):
            mesh = _heat_map(grid[1, column], table, name)
            _spread(grid[0, column], table, "other", looks[runs[1]])
            grid[0, column].set_title(MEASURES[name], loc="left", fontweight="bold", pad=4)
        _spread(grid[1, -1], table, "first", looks[runs[0]])
        _name_sites(grid[1, 0], grid[1, : len(shown)], table)
        bar = grid[0, -1].inset_axes((0.05, 0.55, 0.9, 0.2))
        figure.colorbar(mesh, cax=bar, orientation="horizontal", ticks=(0, 0.5, 1)).outline.set_linewidth(0)
    return figure


def _heat_map(axes: Axes, table: pd.DataFrame, measure: str) -> QuadMesh:
    values = _matrix(table, measure)
    mesh = axes.pcolormesh(values, vmin=0, vmax=1, cmap=COLOUR_MAP, rasterized=False)
    axes.grid(False)
    axes.set_facecolor(style.RULE)
    known = np.isfinite(values).any(axis=1)
    best = np.argmax(np.where(np.isfinite(values), values, -np.inf), axis=1)
    axes.plot(best[known] + 0.5, np.flatnonzero(known) + 0.5, "o", color="white", markersize=3, markeredgecolor="black")
    return mesh


def _matrix(table: pd.DataFrame, measure: str) -> Floats:
    sizes = table["first_site"].nunique(), table["other_site"].nunique()
    return np.asarray(table[measure].to_numpy(dtype=np.float64).reshape(sizes))


def _spread(axes: Axes, table: pd.DataFrame, side: str, look: CurveStyle) -> None:
    """Standard deviation of the gates over images, along the sites of a side."""
    rows = table.drop_duplicates(f"{side}_site")
    values = np.maximum(rows[f"{side}_sd"].to_numpy(dtype=np.float64), SMALLEST)
    places = np.arange(len(rows)) + 0.5
    upright = side == "first"
    axes.plot(
        *((values, places) if upright else (places, values)),
        **look.marked_line(),
    )
    every = np.maximum(table[["first_sd", "other_sd"]].to_numpy(dtype=np.float64), SMALLEST)
    known = every[np.isfinite(every)]
    limits = (10 ** np.floor(np.log10(known.min())), 10 ** np.ceil(np.log10(known.max()))) if known.size else (0.1, 1)
    if upright:
        axes.set_xscale("log")
        axes.set_xlim(limits)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.set_xlabel("SD of gates")
    else:
        axes.set_yscale("log")
        axes.set_ylim(limits)
        axes.set_ylabel("SD of gates")
    axes.minorticks_off()


def _name_sites(left: Axes, below: NDArray[np.object_], table: pd.DataFrame) -> None:
    names = _names(table, "first")
    every = -(-len(names) // MOST_NAMES)
    left.set_yticks(np.arange(0, len(names), every) + 0.5, names[::every])
    left.invert_yaxis()
    names = _names(table, "other")
    every = -(-len(names) // MOST_NAMES)
    for axes in below:
        axes.set_xticks(np.arange(0, len(names), every) + 0.5, names[::every], rotation=90)


def _names(table: pd.DataFrame, side: str) -> list[str]:
    rows = table.drop_duplicates(f"{side}_site")
    still = rows[f"{side}_verdict"].isin(STILL)
    return [f"({name})" if marked else str(name) for name, marked in zip(rows[f"{side}_site"], still, strict=True)]


def _note(table: pd.DataFrame) -> str:
    words = "Dot: the most alike site in each row; negative values have the darkest colour"
    still = table["first_verdict"].isin(STILL).any() or table["other_verdict"].isin(STILL).any()
    return f"{words}. (site): its gates hardly move, so that there is next to nothing to compare." if still else words
