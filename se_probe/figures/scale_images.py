"""Scale by image: thumbnails at each scale, attention over channels, attention difference by unit."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed
from se_probe.figures.style import CurveStyle

PLOT_SHARE = 0.8  # width of a plot, of that of a row of thumbnails
NAME_CHARACTERS = 16


def scale_images(
    examples: pd.DataFrame,
    thumbnails: Mapping[tuple[str, float], NDArray[np.uint8]],
    *,
    demo: bool,
    title: str = "Scale by image: attention",
    caption: str | None = None,
) -> Figure:
    """Draw a row per image: its thumbnails at each scale, a line per scale over channels, and bars of units.

    `examples` is the table of `example_values`, `thumbnails` holds square pictures `(side, side, 3)` by path
    and scale. Lines and bars have the same y axis in every row.

    Args:
        examples: table of `example_values`: a row for each image, scale and value shown.
        thumbnails: pictures `(side, side, 3)`, 8-bit, by path and scale.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.

    Source: Li et al., Selective Kernel Networks, the per-image figure of the attention analysis.
    """
    paths, scales = list(examples["path"].unique()), sorted(examples["scale"].unique())
    looks = scale_styles(scales)
    ratios = [1.0] * len(scales) + [PLOT_SHARE * len(scales)] * 2
    shape = len(paths), len(ratios)
    styles = {f"{scale:g}×": look for scale, look in looks.items()}
    wording = Wording(title, "", "", caption, None, demo)
    with framed(wording, styles, style.DOUBLE_COLUMN, shape, width_ratios=ratios) as (figure, grid):
        for path, axes in zip(paths, grid, strict=True):
            rows = examples[examples["path"] == path]
            for scale, picture in zip(scales, axes, strict=False):
                _show(picture, thumbnails[path, scale])
            axes[0].set_ylabel(textwrap.fill(str(rows["class"].iloc[0]), NAME_CHARACTERS), fontsize=7)
            _lines(axes[-2], rows[rows["part"] == "channels"], looks)
            _bars(axes[-1], rows[rows["part"] == "units"], looks)
        for column in grid.T[-2:]:
            _same_scale(column)
        _label_columns(grid, examples, scales)
    return figure


def scale_styles(scales: Sequence[float]) -> dict[float, CurveStyle]:
    """Return the style of each scale, the same in all figures."""
    return dict(zip(scales, style.class_styles([str(scale) for scale in scales]).values(), strict=True))


def _show(axes: Axes, picture: NDArray[np.uint8]) -> None:
    axes.imshow(picture)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _lines(axes: Axes, rows: pd.DataFrame, looks: Mapping[float, CurveStyle]) -> None:
    for scale, look in looks.items():
        line = rows[rows["scale"] == scale].sort_values("channel")
        axes.plot(
            line["channel"].to_numpy(dtype=np.int64),
            line["value"].to_numpy(),
            color=look.color,
            linestyle=look.linestyle,
            linewidth=look.linewidth,
            marker=look.marker,
            markersize=2.6,
            markeredgewidth=0,
        )
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


def _bars(axes: Axes, rows: pd.DataFrame, looks: Mapping[float, CurveStyle]) -> None:
    sites = list(rows["site"].unique())
    width = 0.8 / len(looks)
    for place, (scale, look) in enumerate(looks.items()):
        heights = rows[rows["scale"] == scale].set_index("site")["value"][sites]
        centres = np.arange(len(sites)) + (place - (len(looks) - 1) / 2) * width
        axes.bar(centres, heights.to_numpy(), width * 0.9, color=look.color)
    axes.axhline(0, color=style.QUIET, linewidth=0.6)
    axes.set_xticks(range(len(sites)), sites)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


def _same_scale(column: Sequence[Axes]) -> None:
    """Give one y axis to all, and the labels of the x axis to the last."""
    low, high = min(axes.get_ylim()[0] for axes in column), max(axes.get_ylim()[1] for axes in column)
    for axes in column:
        axes.set_ylim(low, high)
    for axes in column[:-1]:
        axes.tick_params(labelbottom=False)


def _label_columns(grid: NDArray[np.object_], examples: pd.DataFrame, scales: Sequence[float]) -> None:
    channels = examples[examples["part"] == "channels"].iloc[0]
    kernels = examples.loc[examples["part"] == "units", "kernels"].unique()
    difference = f" {kernels[0]}" if len(kernels) == 1 else ""
    for axes, scale in zip(grid[0], scales, strict=False):
        axes.set_title(f"{scale:g}×", fontsize=7)
    extent = str(channels["kernels"]).split()[0]
    title = f"{channels['site']}: attention of {extent}×{extent}"
    grid[0, -2].set_title(title, loc="left", fontweight="bold")
    grid[0, -1].set_title(f"mean difference{difference}", loc="left", fontweight="bold")
    grid[-1, -2].set_xlabel(f"channel, of {channels['site_channels']}")
    grid[-1, -1].set_xlabel("last unit of each stage")
