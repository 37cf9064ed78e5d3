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
    """Draw cells from the top left corner without grid and spines; `limits` of the colours default to the values'."""
    low, high = limits if limits is not None else (None, None)
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Label the rows, or state their number if there is no room for all names."""
    if len(names) > MOST_NAMES:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} classes, clustered")
        return
    axes.set_yticks(range(len(names)), list(names), fontsize=name_size(len(names)))


def name_columns(axes: Axes, names: Sequence[str]) -> None:
    """Label the columns, if there is room for all names."""
    if len(names) > MOST_NAMES:
        axes.set_xticks([])
        return
    axes.set_xticks(range(len(names)), list(names), rotation=90, fontsize=name_size(len(names)))


def name_size(names: int) -> float:
    """Return the font size, in points, at which this many names fit along a matrix."""
    return min(style.SMALL_TEXT, max(4.0, 260 / names))


def add_colour_bar(figure: Figure, axes: Axes, image: AxesImage, words: str) -> None:
    """Draw the colour bar of a matrix in its own axes."""
    bar = figure.colorbar(image, cax=axes)
    axes.grid(False)
    bar.set_label(words)
    bar.outline.set_visible(False)
