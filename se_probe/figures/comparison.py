"""Figures of a comparison: profiles of several networks over relative depth, alignment of two, gates over steps."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.classes import add_colour_bar, draw_matrix, name_size
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
SPREADS = ["between_class_sd", "within_class_sd"]
UNITS = {**dict.fromkeys(SPREADS, "gate units"), "specificity": "share of variance"}
OVER = {
    "classes": "Bands of ω²: 95 % interval over classes.",
    "images": "Bands of ω²: 95 % interval over images of these classes.",
}
SMALLEST = 1e-5  # gate units; what is smaller is drawn here, for a logarithm
MEASURES = {"cka": "CKA over images", "rsa": "RSA over classes"}
COLOUR_MAP = "cividis"
MOST_NAMES = 28  # names of sites that fit along an axis
SITES_A_ROW = 8  # names of sites that fit beside a panel of usual height
STEP_PANELS = {"sd": "SD over images", "dynamic": "channels that move", "specificity": "specificity ω²"}
STEPS_NOTE = "Circle: the first step at which a site's gates hardly depend on the image."
MOST_STEPS = 12  # names of steps that fit below a panel
SMALLEST_SD = 1e-4
STEP_ROW = 0.09  # height of a row, in panels


def comparison_profiles(
    sites: pd.DataFrame, *, demo: bool, title: str = "Comparison profiles by relative depth", caption: str | None = None
) -> Figure:
    """Draw specificity, spread and states of channels in `Comparison.sites` over relative depth, a line per run.

    The left panels show the standard deviations, in gate units, and below them the share of variance between classes;
    the right panels the shares of channels in each state. Sites whose gates are not live have hollow markers.
    """
    looks = class_styles(list(sites["run"].unique()))
    note = OVER[str(sites["specificity_over"].iloc[0])]
    if (sites["verdict"] != "live").any():
        note += " Hollow: most channels of the site hardly move."
    wording = Wording(title, demo, caption, "relative depth of the site", note=note)
    with framed(wording, looks, style.DOUBLE_COLUMN, (3, 2), sharex=True) as (figure, grid):
        for axes, (column, name) in zip(grid.ravel(), PANELS.items(), strict=True):
            for run, rows in sites.groupby("run", sort=False):
                _profile(axes, rows, column, looks[str(run)])
            axes.set(title=name, ylabel=UNITS.get(column, "share of channels"))
            if column in SPREADS:
                axes.set_yscale("log")
                axes.minorticks_off()
                axes.set_ylim(_decades(sites[SPREADS]))  # One scale for both spreads.
            else:
                # An interval far below 0 says no more than one that just reaches below.
                axes.set_ylim(-0.2 if column == "specificity" else 0, 1)
                axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    return figure


def _profile(axes: Axes, rows: pd.DataFrame, column: str, look: CurveStyle) -> None:
    depth, values = rows["depth"].to_numpy(), rows[column].to_numpy(dtype=np.float64)
    if column == "specificity" and rows["specificity_ci_low"].notna().any():
        low, high = (rows[f"specificity_ci_{end}"].to_numpy() for end in ("low", "high"))
        axes.fill_between(depth, low, high, color=look.color, alpha=0.16, linewidth=0)
    shown = np.maximum(values, SMALLEST) if column in SPREADS else values
    axes.plot(depth, shown, **look.marked_line(), clip_on=False)
    still = (rows["verdict"] != "live").to_numpy()
    if still.any():
        axes.plot(depth[still], shown[still], **look.points().marked_line(hollow=True), clip_on=False, zorder=4)


def _decades(values: pd.DataFrame) -> tuple[float, float]:
    """Return the powers of ten around all known values, for a logarithmic axis."""
    known = values.to_numpy(dtype=np.float64)
    known = np.log10(np.maximum(known[np.isfinite(known)], SMALLEST))
    return (10.0 ** np.floor(known.min()), 10.0 ** np.ceil(known.max())) if known.size else (0.1, 1.0)


def alignment(
    table: pd.DataFrame, *, demo: bool, title: str = "Alignment of representations", caption: str | None = None
) -> Figure:
    """Draw heat maps of CKA and, if available, RSA between the sites of two runs, of which `table` has the alignment.

    Both measures ignore scale, so each axis also shows the standard deviation of the gates over images, and a site
    whose gates hardly move has its name in parentheses. A dot marks the most similar site of the other network in each
    row.

    Source: Kornblith et al., Similarity of neural network representations revisited, ICML 2019.
    """
    runs = [str(table[side].iloc[0]) for side in ("first", "other")]
    looks = class_styles(runs)
    shown = [name for name in MEASURES if table[name].notna().any()] or ["cka"]
    note = "Dot: the most similar site in each row; negative values have the darkest colour"
    names, others = _site_names(table, "first"), _site_names(table, "other")
    if any(name.startswith("(") for name in (*names, *others)):
        note += ". (site): its gates hardly move, so there is next to nothing to compare."
    wording = Wording(title, demo, caption, f"sites of {runs[1]}", f"sites of {runs[0]}", note)
    height = max(3, 1 + math.ceil(table["first_site"].nunique() / SITES_A_ROW))
    sizes = {"width_ratios": [*(1.0 for _ in shown), 0.3], "height_ratios": [0.25, 1.0]}
    options = {"sharex": "col", "sharey": "row", "gridspec_kw": sizes}
    with framed(wording, looks, style.DOUBLE_COLUMN, (2, len(shown) + 1), height, **options) as (figure, grid):
        grid[0, -1].set_axis_off()
        for column, name in enumerate(shown):
            mesh = _heat_map(grid[1, column], table, name)
            _spread(grid[0, column], table, "other", looks[runs[1]])
            grid[0, column].set_title(MEASURES[name])
        _spread(grid[1, -1], table, "first", looks[runs[0]])
        every = -(-len(names) // MOST_NAMES)
        grid[1, 0].set_yticks(np.arange(0, len(names), every) + 0.5, names[::every])
        grid[1, 0].invert_yaxis()
        every = -(-len(others) // MOST_NAMES)
        for axes in grid[1, : len(shown)]:
            axes.set_xticks(np.arange(0, len(others), every) + 0.5, others[::every], rotation=90)
        bar = grid[0, -1].inset_axes((0.05, 0.55, 0.9, 0.2))
        figure.colorbar(mesh, cax=bar, orientation="horizontal", ticks=(0, 0.5, 1)).outline.set_linewidth(0)
    return figure


def _heat_map(axes: Axes, table: pd.DataFrame, measure: str) -> QuadMesh:
    sizes = table["first_site"].nunique(), table["other_site"].nunique()
    values: NDArray[np.float64] = table[measure].to_numpy(dtype=np.float64).reshape(sizes)
    mesh = axes.pcolormesh(values, vmin=0, vmax=1, cmap=COLOUR_MAP, rasterized=False)
    axes.grid(False)
    axes.set_facecolor(style.RULE)
    known = np.isfinite(values).any(axis=1)
    best = np.argmax(np.where(np.isfinite(values), values, -np.inf), axis=1)
    axes.plot(best[known] + 0.5, np.flatnonzero(known) + 0.5, "o", color="white", markersize=3, markeredgecolor="black")
    return mesh


def _spread(axes: Axes, table: pd.DataFrame, side: str, look: CurveStyle) -> None:
    """Draw the standard deviation of the gates over images along the sites of one run."""
    rows = table.drop_duplicates(f"{side}_site")
    values = np.maximum(rows[f"{side}_sd"].to_numpy(dtype=np.float64), SMALLEST)
    positions = np.arange(len(rows)) + 0.5
    upright = side == "first"
    axes.plot(*((values, positions) if upright else (positions, values)), **look.marked_line())
    limits = _decades(table[["first_sd", "other_sd"]])
    if upright:
        axes.set(xscale="log", xlim=limits, xlabel="SD of gates")
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
    else:
        axes.set(yscale="log", ylim=limits, ylabel="SD of gates")
    axes.minorticks_off()


def _site_names(table: pd.DataFrame, side: str) -> list[str]:
    rows = table.drop_duplicates(f"{side}_site")
    still = rows[f"{side}_verdict"].isin(("collapsed", "constant", "saturated"))
    return [f"({name})" if marked else str(name) for name, marked in zip(rows[f"{side}_site"], still, strict=True)]


def steps_figure(
    sites: pd.DataFrame,
    events: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Gates over steps",
    caption: str | None = None,
) -> Figure:
    """Draw a matrix of sites by steps for each of the spread, the share of channels that move, and ω².

    Tables are those of `step_sites` and `step_events`.
    """
    labels, names = list(sites["label"].unique()), list(sites["site"].unique())
    marked = events[events["first_label"].notna()]
    wording = Wording(title, demo, caption, "step", note=STEPS_NOTE if len(marked) else "")
    height = 0.5 + STEP_ROW * len(names)
    with framed(wording, {}, style.DOUBLE_COLUMN, (1, len(STEP_PANELS)), height, sharey=True) as (figure, grid):
        for axes, (column, words) in zip(grid[0], STEP_PANELS.items(), strict=True):
            cells = sites.pivot(index="site", columns="label", values=column).loc[names, labels]
            values = cells.to_numpy(dtype=np.float64)
            image = draw_matrix(axes, np.maximum(values, SMALLEST_SD) if column == "sd" else values, "viridis", (0, 1))
            if column == "sd":
                image.set_norm(LogNorm(SMALLEST_SD, max(float(np.nanmax(values)), 10 * SMALLEST_SD)))
            axes.set_title(words)
            style.upright_names(axes, labels, MOST_STEPS, name_size(len(labels)))
            x = [labels.index(label) for label in marked["first_label"]]
            y = [names.index(site) for site in marked["site"]]
            axes.plot(x, y, linestyle="none", marker="o", markersize=4, markerfacecolor="none", color="white")
            add_colour_bar(figure, image, ax=[axes], fraction=0.05, pad=0.02)
        grid[0, 0].set_yticks(range(len(names)), names, fontsize=name_size(len(names)))
    return figure
