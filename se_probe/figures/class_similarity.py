"""Class similarity: a dendrogram beside the matrix of distances."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.cluster import hierarchy

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed
from se_probe.figures.matrix import add_colour_bar, draw_matrix, name_columns, name_rows

WIDTHS = (1, 2.6, 0.1)
FEW = 12
"""Classes up to which one column is wide enough."""
NOTE = "Tree: distance at which classes merge, gate units."


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

    `pairs` is the table of `pair_table` and `linkage` that of its clustering. Dark pairs are alike.

    Args:
        pairs: table of `pair_table`: the distance of each pair of classes, in gate units.
        linkage: `(classes - 1, 4)`, the clustering as SciPy's `linkage` gives it.
        site: name of the site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    distances = pairs.pivot(index="row", columns="column", values="distance").to_numpy()
    names = pairs.drop_duplicates("row").sort_values("row")["class"].tolist()
    small = len(names) <= FEW
    width, height = (style.SINGLE_COLUMN, 2) if small else (style.DOUBLE_COLUMN, 3.6)
    wording = Wording(title, "", "", caption, NOTE, demo)
    with framed(wording, {}, width, (1, 3), height, width_ratios=WIDTHS) as (figure, grid):
        tree, matrix, bar = grid[0]
        _draw_tree(tree, linkage)
        image = draw_matrix(matrix, distances, "viridis", (0.0, float(distances.max()) or 1.0))
        name_rows(matrix, names)
        name_columns(matrix, names)
        matrix.set_title(site, loc="left", fontweight="bold", pad=4)
        add_colour_bar(figure, bar, image, "distance, gate units")
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
