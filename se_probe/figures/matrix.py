"""Matrices drawn as colours."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from se_probe.figures import style

MOST_NAMES = 60
"""More rows than this cannot be named legibly on a page."""


def draw_matrix(
    axes: Axes, values: NDArray[np.float64], colours: str, limits: tuple[float, float] | None = None
) -> AxesImage:
    """Cells from the top left corner, without grid and spines; `limits` of the colours, None: those of the values."""
    low, high = limits if limits is not None else (None, None)
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names at the rows where there is room for them, else their number."""
    if len(names) > MOST_NAMES:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} classes, clustered")
        return
    axes.set_yticks(range(len(names)), list(names), fontsize=min(style.SMALL_TEXT, max(4.0, 260 / len(names))))


def add_colour_bar(figure: Figure, axes: Axes, image: AxesImage, words: str) -> None:
    """The colour bar of a matrix, in axes of its own."""
    bar = figure.colorbar(image, cax=axes)
    axes.grid(False)
    bar.set_label(words)
    bar.outline.set_visible(False)
