"""Figures of classes at one site: mean gates, similarity, and the gates of one channel, with matrices as colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.cluster import hierarchy

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed

MOST_NAMES = 60
"""More rows than this cannot be named legibly on a page."""
MOST_COLUMNS = 50
FEW = 12
"""Classes up to which one column is wide enough for their similarity."""
GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio fill a unit interval evenly, in any number."""
UNIT_LIMITS = (-0.03, 1.03)


def class_heatmap(
    means: pd.DataFrame, *, demo: bool, title: str = "Class heat map of mean gates", caption: str | None = None
) -> Figure:
    """Draw the mean gate of every class (row) in every channel (column), both in the order of their clustering.

    Colours run from 0 to 1 where gates are bounded. Below the columns stand the indices of the channels, of every nth
    column where there is no room for all.

    Args:
        means: table of `clustered_class_means`: a mean gate for each class and channel, in display order.
    """
    site, channels = str(means["site"].iloc[0]), int(means["site_channels"].iloc[0])
    values = means.pivot(index="row", columns="column", values="mean").to_numpy()
    names = means.drop_duplicates("row").sort_values("row")["class"].tolist()
    bounded = means["activation"].iloc[0] != "unbounded" and bool(means["mean"].between(0, 1).all())
    columns = means.drop_duplicates("column").sort_values("column")
    labels, words = columns["channel"].astype(str), "channel, clustered"
    if means["branch"].nunique() > 1:
        labels, words = columns["branch"].astype(str) + ":" + labels, "channel (branch:channel), clustered"
    wording = Wording(title, demo, caption, words)
    height = 1 + len(names) // 24
    with framed(wording, {}, style.DOUBLE_COLUMN, (1, 2), height, width_ratios=(50, 1)) as (figure, grid):
        axes, bar = grid[0]
        image = draw_matrix(axes, values, "viridis", (0.0, 1.0) if bounded else None)
        name_rows(axes, names)
        style.upright_names(axes, labels.tolist(), MOST_COLUMNS, size=6)
        axes.set_title(f"{site} · {channel_share(means['channel'].nunique(), channels)}")
        add_colour_bar(figure, image, "mean gate", cax=bar)
    return figure


def class_similarity_matrix(
    pairs: pd.DataFrame,
    linkage: NDArray[np.float64],
    *,
    site: str,
    demo: bool,
    title: str = "Class similarity",
    caption: str | None = None,
) -> Figure:
    """Draw the root mean square difference between the mean gates of every pair of classes, beside the tree.

    Dark pairs are alike.

    Args:
        pairs: table of `pair_table`: the distance of each pair of classes, in gate units.
        linkage: `(classes - 1, 4)`, the clustering as SciPy's `linkage` gives it.
        site: name of the site.
    """
    distances = pairs.pivot(index="row", columns="column", values="distance").to_numpy()
    names = pairs.drop_duplicates("row").sort_values("row")["class"].tolist()
    width, height = (style.SINGLE_COLUMN, 2) if len(names) <= FEW else (style.DOUBLE_COLUMN, 3.6)
    wording = Wording(title, demo, caption, note="Tree: distance at which classes merge, gate units.")
    with framed(wording, {}, width, (1, 3), height, width_ratios=(1, 2.6, 0.1)) as (figure, grid):
        tree, matrix, bar = grid[0]
        _draw_tree(tree, linkage)
        image = draw_matrix(matrix, distances, "viridis", (0.0, float(distances.max()) or 1.0))
        name_rows(matrix, names)
        shown = names if len(names) <= MOST_NAMES else []
        style.upright_names(matrix, shown, MOST_NAMES, name_size(len(names)))
        matrix.set_title(site)
        add_colour_bar(figure, image, "distance, gate units", cax=bar)
    return figure


def _draw_tree(axes: Axes, linkage: NDArray[np.float64]) -> None:
    """Draw the tree with its leaves at the rows of the matrix."""
    drawn = hierarchy.dendrogram(linkage, no_plot=True)
    for heights, leaves_at in zip(drawn["dcoord"], drawn["icoord"], strict=True):
        # scipy puts leaf k at 10 k + 5.
        axes.plot(heights, (np.array(leaves_at) - 5) / 10, color=style.TEXT, linewidth=0.7)
    leaves = len(linkage) + 1
    axes.set_ylim(leaves - 0.5, -0.5)
    axes.set_xlim(1.03 * float(linkage[:, 2].max()) or 1.0, 0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=2))
    axes.set_yticks([])
    axes.grid(False)
    axes.spines["left"].set_visible(False)


def channel_distribution(
    gates: pd.DataFrame, *, demo: bool, title: str = "Channel distribution by class", caption: str | None = None
) -> Figure:
    """Draw the gates of single images, a row of dots per class, with median, quartiles and range.

    The x axis is 0 to 1 where gates are bounded. The vertical position of a dot within its row has no meaning.

    Args:
        gates: table of `channel_gates`: the gate of each image in one channel, with its class.
    """
    first = gates.iloc[0]
    names = list(gates["class"].unique())
    branch = f" · branch {first['branch']}" if first["branch"] or "softmax" in first["activation"] else ""
    wording = Wording(title, demo, caption, "gate", note="Dot: an image. Box: quartiles and median. Whiskers: range.")
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
        axes.set_title(f"{first['site']}{branch} · channel {first['channel']}")
    return figure


def _draw_row(axes: Axes, values: NDArray[np.floating], row: int, colour: str) -> None:
    across = (np.arange(len(values)) * GOLDEN % 1 - 0.5) * 0.5
    axes.plot(values, row + across, "o", markersize=2.2, color=colour, alpha=0.55, markeredgewidth=0)
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


def draw_matrix(
    axes: Axes, values: NDArray[np.float64], colours: str, limits: tuple[float, float] | None = None
) -> AxesImage:
    """Draw cells from the top left corner without grid and spines; `limits` of the colours default to the values'."""
    low, high = limits if limits is not None else (None, None)
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image


def name_rows(axes: Axes, names: Sequence[str], order: str = "clustered") -> None:
    """Label the rows, or state their number and `order` where there is no room for all names."""
    if len(names) > MOST_NAMES:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} classes, {order}")
        return
    axes.set_yticks(range(len(names)), list(names), fontsize=name_size(len(names)))


def name_size(names: int) -> float:
    """Return the font size, in points, at which this many names fit along a matrix."""
    return min(style.SMALL_TEXT, max(4.0, 260 / names))


def add_colour_bar(figure: Figure, image: AxesImage, words: str = "", **place: Any) -> None:
    """Add the colour bar of a matrix; `place` are arguments of `Figure.colorbar`."""
    bar = figure.colorbar(image, **place)
    bar.ax.grid(False)
    bar.set_label(words)
    bar.outline.set_visible(False)


def channel_share(shown: int, channels: int) -> str:
    """Return how many channels of a site are shown, in words."""
    return f"{shown} of {channels} channels" if shown < channels else f"all {channels} channels"
