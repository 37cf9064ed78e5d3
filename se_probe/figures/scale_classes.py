"""The figure of classes: mean attention difference over class index, a line a scale, a panel a unit."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.figures import style
from se_probe.figures.frame import Wording, add_frame
from se_probe.figures.notebook_figure import NotebookFigure
from se_probe.figures.scale_images import scale_styles
from se_probe.figures.settle import freeze_layout
from se_probe.figures.style import CurveStyle

COLUMNS = 3
NAMED = 12  # classes up to which the x axis has their names
SPARSE = 60  # classes up to which lines have markers


def scale_classes(
    classes: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Attention by class and scale",
    caption: str | None = None,
) -> Figure:
    """Mean difference of attention over classes at each scale; every panel has a y axis of its own.

    `classes` is the table of `class_values` for the sites to show. Classes stand at their index; where one
    has none, or a few classes are shown by name, at their position in the order of the table.

    Source: Li et al., Selective Kernel Networks, the per-class figure of the attention analysis.
    """
    sites, looks = list(classes["site"].unique()), scale_styles(sorted(classes["scale"].unique()))
    columns = min(COLUMNS, len(sites))
    lines = -(-len(sites) // columns)
    with style.house_style():
        figure = NotebookFigure(figsize=(style.SINGLE_COLUMN if columns == 1 else style.DOUBLE_COLUMN, lines))
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for unused in grid[len(sites) :]:
            unused.remove()
        for axes, site in zip(grid, sites, strict=False):
            rows = classes[classes["site"] == site]
            for scale, look in looks.items():
                _plot(axes, rows[rows["scale"] == scale], look)
            axes.set_title(_title(rows), loc="left", fontweight="bold", pad=4)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        wording = Wording(title, _x_label(classes), str(classes["quantity"].iloc[0]), caption, None, demo)
        add_frame(figure, wording, {f"{scale:g}×": look for scale, look in looks.items()}, _height(classes, lines))
        freeze_layout(figure)
    return figure


def _plot(axes: Axes, rows: pd.DataFrame, look: CurveStyle) -> None:
    named, by_index = len(rows) <= NAMED, bool(rows["class_index"].notna().all())
    if by_index:
        rows = rows.sort_values("class_index")
    places = rows["class_index"].to_numpy(dtype=np.int64) if by_index and not named else np.arange(len(rows))
    dense = len(rows) > SPARSE
    axes.plot(
        places,
        rows["value"].to_numpy(),
        color=look.color,
        linestyle="-" if dense else look.linestyle,
        linewidth=0.4 if dense else look.linewidth,
        marker=None if dense else look.marker,
        markersize=2.6,
        markeredgewidth=0,
    )
    if named:
        axes.set_xticks(places, rows["class"].tolist(), rotation=90)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _height(classes: pd.DataFrame, lines: int) -> int:
    """Rows of room: names of classes take as much as panels."""
    return 2 if lines == 1 and classes["class"].nunique() <= NAMED else lines


def _title(rows: pd.DataFrame) -> str:
    site, kernels = rows[["site", "kernels"]].iloc[0]
    return f"{site} · kernel {kernels}" if kernels else str(site)


def _x_label(classes: pd.DataFrame) -> str:
    if classes["class"].nunique() <= NAMED:
        return "class"
    return "class index" if classes["class_index"].notna().all() else "class, in the order of the data"
