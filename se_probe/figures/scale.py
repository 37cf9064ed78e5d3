"""Figures of the scale experiment: what gates do at each scale, by site, by class and by image."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.by_site import framed_by_site
from se_probe.figures.frame import Wording, filled, framed
from se_probe.figures.style import CurveStyle

COLUMNS = 3
NAMED = 12  # classes up to which the x axis has their names
SPARSE = 60  # classes above which points become lines
PLOT_SHARE = 0.8  # width of a plot, of that of a row of thumbnails
NAME_CHARACTERS = 16


def scale_response(
    response: pd.DataFrame, *, demo: bool, title: str = "Scale response of the gates", caption: str | None = None
) -> Figure:
    """Draw the mean at each scale above, and the mean absolute change from the smallest scale below, over sites.

    The mean is that of the gates, or of the attention difference between kernels of different extent; branches of equal
    extent have a change only.

    Args:
        response: table of `response`: a row for each site and scale, with 95 % limits over images.
    """
    looks = _scale_styles(response)
    sites = list(response["site"].unique())
    quantities = [str(name) for name, rows in response.groupby("quantity", sort=False) if rows["value"].notna().any()]
    note = "Bars: 95 % interval over images, every class with equal weight."
    wording = Wording(title, demo, caption, "site", "gate units", note)
    titles = [*quantities, f"mean absolute change from {min(looks):g}×"]
    with framed_by_site(sites, titles, wording, _legend(looks)) as (figure, (*above, last)):
        for axes, name in zip(above, quantities, strict=True):
            _response(axes, response[response["quantity"] == name], "value", sites, looks)
        _response(last, response, "change", sites, dict(list(looks.items())[1:]))
        last.set_ylim(bottom=0)
    return figure


def _scale_styles(table: pd.DataFrame) -> dict[float, CurveStyle]:
    scales = sorted(table["scale"].unique())
    return dict(zip(scales, style.class_styles([str(scale) for scale in scales]).values(), strict=True))


def _legend(looks: Mapping[float, CurveStyle]) -> dict[str, CurveStyle]:
    return {f"{scale:g}×": look for scale, look in looks.items()}


def _response(axes: Axes, rows: pd.DataFrame, column: str, sites: list[str], looks: Mapping[float, CurveStyle]) -> None:
    for order, (scale, look) in enumerate(looks.items()):
        line = rows[rows["scale"] == scale].set_index("site").reindex(sites)
        x = np.arange(len(sites)) + 0.12 * (order - (len(looks) - 1) / 2)
        axes.plot(x, line[column].to_numpy(), **look.marked_line())
        axes.vlines(x, line[f"{column}_ci_low"], line[f"{column}_ci_high"], color=look.color, linewidth=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def scale_classes(
    classes: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Scale by class: attention difference",
    caption: str | None = None,
) -> Figure:
    """Draw the mean attention difference of every class at each scale; every panel has its own y axis.

    Classes stand at their index; if one has none, or if few classes are shown by name, in the order of the table. Few
    classes are points, because their order means nothing; many are joined by thin lines, as in the paper.

    Args:
        classes: table of `class_values` for the sites to show: the mean attention difference of each class, site and
            scale, with 95 % limits over images where single images were kept.

    Source: Li et al., Selective Kernel Networks, the per-class figure of the attention analysis.
    """
    sites, number = list(classes["site"].unique()), classes["class"].nunique()
    joined = number > SPARSE
    looks = {
        scale: CurveStyle(look.color, "-", None, 0.4, look.zorder, look.order) if joined else look.points()
        for scale, look in _scale_styles(classes).items()
    }
    columns = min(COLUMNS, len(sites))
    lines = -(-len(sites) // columns)
    # Names of classes take as much room as panels.
    height = 2 if lines == 1 and number <= NAMED else lines
    intervals = "Bars: 95 % interval over images, for classes of which single images were kept."
    note = intervals if classes["ci_low"].notna().any() else ""
    wording = Wording(title, demo, caption, _class_label(classes), str(classes["quantity"].iloc[0]), note)
    width = style.SINGLE_COLUMN if columns == 1 else style.DOUBLE_COLUMN
    with framed(wording, _legend(looks), width, (lines, columns), height) as (figure, grid):
        for axes, site in zip(filled(grid, len(sites)), sites, strict=True):
            rows = classes[classes["site"] == site]
            for order, (scale, look) in enumerate(looks.items()):
                shift = 0.0 if joined else 0.18 * (order - (len(looks) - 1) / 2)
                _class_points(axes, rows[rows["scale"] == scale], look, shift)
            kernels = rows["kernels"].iloc[0]
            axes.set_title(f"{site} · kernel {kernels}" if kernels else str(site))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    return figure


def _class_points(axes: Axes, rows: pd.DataFrame, look: CurveStyle, shift: float) -> None:
    named, by_index = len(rows) <= NAMED, bool(rows["class_index"].notna().all())
    if by_index:
        rows = rows.sort_values("class_index")
    x = rows["class_index"].to_numpy(dtype=np.int64) if by_index and not named else np.arange(len(rows))
    axes.plot(x + shift, rows["value"].to_numpy(), **look.marked_line())
    axes.vlines(x + shift, rows["ci_low"], rows["ci_high"], color=look.color, linewidth=0.7)
    if named:
        style.upright_names(axes, rows["class"].tolist(), NAMED)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _class_label(classes: pd.DataFrame) -> str:
    if classes["class"].nunique() <= NAMED:
        return "class"
    return "class index" if classes["class_index"].notna().all() else "class, in the order of the data"


def scale_images(
    examples: pd.DataFrame,
    thumbnails: Mapping[tuple[str, float], NDArray[np.uint8]],
    *,
    demo: bool,
    title: str = "Scale by image: attention",
    caption: str | None = None,
) -> Figure:
    """Draw a row per image: its thumbnails at each scale, a line per scale over channels, and bars of units.

    Lines and bars have the same y axis in every row.

    Args:
        examples: table of `example_values`: a row for each image, scale and value shown.
        thumbnails: pictures `(side, side, 3)`, 8-bit, by path and scale.

    Source: Li et al., Selective Kernel Networks, the per-image figure of the attention analysis.
    """
    paths, looks = list(examples["path"].unique()), _scale_styles(examples)
    ratios = [1.0] * len(looks) + [PLOT_SHARE * len(looks)] * 2
    shape = len(paths), len(ratios)
    wording = Wording(title, demo, caption)
    with framed(wording, _legend(looks), style.DOUBLE_COLUMN, shape, width_ratios=ratios) as (figure, grid):
        for path, axes in zip(paths, grid, strict=True):
            rows = examples[examples["path"] == path]
            for scale, picture in zip(looks, axes, strict=False):
                picture.imshow(thumbnails[path, scale])
                picture.set(xticks=[], yticks=[])
                picture.spines[:].set_visible(False)
            axes[0].set_ylabel(textwrap.fill(str(rows["class"].iloc[0]), NAME_CHARACTERS), fontsize=7)
            _lines(axes[-2], rows[rows["part"] == "channels"], looks)
            _bars(axes[-1], rows[rows["part"] == "units"], looks)
        for column in grid.T[-2:]:
            _same_scale(column)
        _label_columns(grid, examples, looks)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, looks: Mapping[float, CurveStyle]) -> None:
    for scale, look in looks.items():
        line = rows[rows["scale"] == scale].sort_values("channel")
        axes.plot(line["channel"].to_numpy(dtype=np.int64), line["value"].to_numpy(), **look.marked_line(2.6))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


def _bars(axes: Axes, rows: pd.DataFrame, looks: Mapping[float, CurveStyle]) -> None:
    sites = list(rows["site"].unique())
    width = 0.8 / len(looks)
    for order, (scale, look) in enumerate(looks.items()):
        heights = rows[rows["scale"] == scale].set_index("site")["value"][sites]
        centres = np.arange(len(sites)) + (order - (len(looks) - 1) / 2) * width
        axes.bar(centres, heights.to_numpy(), width * 0.9, color=look.color)
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    axes.set_xticks(range(len(sites)), sites)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


def _same_scale(column: Sequence[Axes]) -> None:
    """Give all panels the same y axis, and only the last one tick labels below."""
    low, high = min(axes.get_ylim()[0] for axes in column), max(axes.get_ylim()[1] for axes in column)
    for axes in column:
        axes.set_ylim(low, high)
    for axes in column[:-1]:
        axes.tick_params(labelbottom=False)


def _label_columns(grid: NDArray[np.object_], examples: pd.DataFrame, scales: Mapping[float, CurveStyle]) -> None:
    channels = examples[examples["part"] == "channels"].iloc[0]
    kernels = examples.loc[examples["part"] == "units", "kernels"].unique()
    difference = f" {kernels[0]}" if len(kernels) == 1 else ""
    for axes, scale in zip(grid[0], scales, strict=False):
        axes.set_title(f"{scale:g}×", loc="center", fontweight="normal")
    extent = str(channels["kernels"]).split()[0]
    grid[0, -2].set_title(f"{channels['site']}: attention of {extent}×{extent}")
    grid[0, -1].set_title(f"mean difference{difference}")
    grid[-1, -2].set_xlabel(f"channel, of {channels['site_channels']}")
    grid[-1, -1].set_xlabel("last unit of each stage")
