"""Images under change: what the network sees, by change and strength."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed

PER_ROW = 8


def change_images(
    listed: pd.DataFrame,
    thumbnails: Mapping[tuple[str, str], NDArray[np.uint8]],
    *,
    demo: bool,
    title: str = "Images under change",
    caption: str | None = None,
) -> Figure:
    """Draw pictures of some images under each condition, plain ones first, in rows of eight for each image.

    Args:
        listed: a row a picture: `path`, `condition`, `class`.
        thumbnails: pictures `(side, side, 3)`, 8-bit, by path and condition.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images.
    """
    conditions, paths = list(listed["condition"].unique()), list(listed["path"].unique())
    lines = -(-len(conditions) // PER_ROW)
    columns = min(len(conditions), PER_ROW)
    shape = lines * len(paths), columns
    width = style.DOUBLE_COLUMN * columns / PER_ROW
    with framed(
        Wording(title, "", "", caption, None, demo), {}, max(width, style.SINGLE_COLUMN), shape, 0.65 * shape[0]
    ) as (
        figure,
        grid,
    ):
        for axes in grid.ravel():
            axes.set_axis_off()
        for row, path in enumerate(paths):
            for place, condition in enumerate(conditions):
                axes = grid[row * lines + place // PER_ROW, place % PER_ROW]
                if (path, condition) in thumbnails:
                    axes.imshow(thumbnails[path, condition])
                axes.set_title(condition, fontsize=style.SMALL_TEXT, pad=2)
    return figure
