"""Similarity of classes: a dendrogram beside the matrix of distances."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.cluster import hierarchy

from se_probe.figures import style
from se_probe.figures.frame import Wording, add_frame
from se_probe.figures.matrix import add_colour_bar, draw_matrix, name_rows
from se_probe.figures.notebook_figure import NotebookFigure
from se_probe.figures.settle import freeze_layout

WIDTHS = (1, 2.6, 0.1)


def class_similarity_matrix(
    pairs: pd.DataFrame,
    linkage: NDArray[np.float64],
    *,
    site: str,
    demo: bool,
    title: str = "Similarity of classes",
    caption: str | None = None,
) -> Figure:
    """Root mean square difference of the mean gates of every pair of classes, ordered as the tree beside it.

    `pairs` is the table of `pair_table` and `linkage` that of the clustering it was made with. Dark is alike.
    """
    distances = pairs.pivot(index="row", columns="column", values="distance").to_numpy()
    names = pairs.drop_duplicates("row").sort_values("row")["class"].tolist()
    with style.house_style():
        figure = NotebookFigure(figsize=(style.SINGLE_COLUMN if len(names) <= 12 else style.DOUBLE_COLUMN, 1))
        tree, matrix, bar = figure.subplots(1, 3, width_ratios=WIDTHS)
        _draw_tree(tree, linkage)
        image = draw_matrix(matrix, distances, "viridis", (0.0, float(distances.max()) or 1.0))
        matrix.set_xticks([])
        name_rows(matrix, names)
        matrix.set_title(site, loc="left", fontweight="bold", pad=4)
        add_colour_bar(figure, bar, image, "distance, gate units")
        wording = Wording(title, "tree: distance at which classes merge, gate units", "", caption, None, demo)
        add_frame(figure, wording, {}, 2 if len(names) <= 12 else 3)
        freeze_layout(figure)
    return figure


def _draw_tree(axes: Axes, linkage: NDArray[np.float64]) -> None:
    """The tree with its leaves at the rows of the matrix, growing to the left."""
    drawn = hierarchy.dendrogram(linkage, no_plot=True)
    for heights, places in zip(drawn["dcoord"], drawn["icoord"], strict=True):
        # scipy puts leaf k at 10 k + 5.
        axes.plot(heights, (np.array(places) - 5) / 10, color=style.TEXT, linewidth=0.7)
    leaves = len(linkage) + 1
    axes.set_ylim(leaves - 0.5, -0.5)
    axes.set_xlim(1.03 * float(linkage[:, 2].max()) or 1.0, 0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=2))
    axes.set_yticks([])
    axes.grid(False)
    axes.spines["left"].set_visible(False)
