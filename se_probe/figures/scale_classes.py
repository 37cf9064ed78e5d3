"""Scale by class: mean attention difference of every class at each scale, a panel per unit."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed
from se_probe.figures.scale_images import scale_styles
from se_probe.figures.style import CurveStyle

COLUMNS = 3
NAMED = 12  # classes up to which the x axis has their names
SPARSE = 60  # classes above which points become lines
NOTE = "Bars: 95 % interval over images, for classes of which single images were kept."


def scale_classes(
    classes: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Scale by class: attention difference",
    caption: str | None = None,
) -> Figure:
    """Draw the mean attention difference of every class at each scale; every panel has its own y axis.

    `classes` is the table of `class_values` for the sites to show, with 95 % limits over images where single images
    were kept. Classes stand at their index; if one has none, or if few classes are shown by name, in the order of the
    table. Few classes are points, because their order means nothing; many are joined by thin lines, as in the paper.

    Args:
        classes: table of `class_values`: the mean attention difference of each class, site and scale.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.

    Source: Li et al., Selective Kernel Networks, the per-class figure of the attention analysis.
    """
    sites, looks = list(classes["site"].unique()), scale_styles(sorted(classes["scale"].unique()))
    columns = min(COLUMNS, len(sites))
    lines = -(-len(sites) // columns)
    known = classes["ci_low"].notna().any()
    note = NOTE if known else None
    wording = Wording(title, _x_label(classes), str(classes["quantity"].iloc[0]), caption, note, demo)
    named = {f"{scale:g}×": _style(look, classes) for scale, look in looks.items()}
    width = style.SINGLE_COLUMN if columns == 1 else style.DOUBLE_COLUMN
    with framed(wording, named, width, (lines, columns), _height(classes, lines)) as (figure, panels):
        grid = panels.ravel()
        for unused in grid[len(sites) :]:
            unused.remove()
        for axes, site in zip(grid, sites, strict=False):
            rows = classes[classes["site"] == site]
            for place, (scale, look) in enumerate(looks.items()):
                shift = 0.18 * (place - (len(looks) - 1) / 2)
                _plot(axes, rows[rows["scale"] == scale], _style(look, classes), shift)
            axes.set_title(_title(rows), loc="left", fontweight="bold", pad=4)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    return figure


def _style(look: CurveStyle, classes: pd.DataFrame) -> CurveStyle:
    """Return points for few classes, a thin line without markers for many."""
    if classes["class"].nunique() > SPARSE:
        return replace(look, linestyle="-", linewidth=0.4, marker=None)
    return replace(look, linestyle="none")


def _plot(axes: Axes, rows: pd.DataFrame, look: CurveStyle, shift: float) -> None:
    named, by_index = len(rows) <= NAMED, bool(rows["class_index"].notna().all())
    if by_index:
        rows = rows.sort_values("class_index")
    places = rows["class_index"].to_numpy(dtype=np.int64) if by_index and not named else np.arange(len(rows))
    x = places if look.linestyle == "-" else places + shift
    axes.plot(x, rows["value"].to_numpy(), **look.marked_line())
    axes.vlines(x, rows["ci_low"], rows["ci_high"], color=look.color, linewidth=0.7)
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
