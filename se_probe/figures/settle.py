"""Laying a figure out once and for all."""

import numpy as np
from matplotlib.figure import Figure

DIGITS = 6  # of a figure's side: a thousandth of a pixel


def freeze_layout(figure: Figure) -> None:
    """Lay a figure out and keep the places of its panels, rounded, so that the same figure gives the same bytes.

    The layout's solver leaves differences in the last digits between runs, which end up in names within SVG.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(tuple(np.round(axes.get_position(original=True).bounds, DIGITS)))
    for text in figure.texts:
        text.set_in_layout(True)  # pyplot in a notebook crops a figure to what is in its layout, title or no title
