"""The look of every figure: colours, line styles, sizes in inches and points. Nothing global is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import matplotlib.style as mpl_style
from matplotlib.axes import Axes
from matplotlib.text import Text

SINGLE_COLUMN = 84 / 25.4
DOUBLE_COLUMN = 7.16
PAGE_HEIGHT = 9.5

TEXT = "#1a1a1a"
QUIET = "#5f5f5f"
RULE = "#e3e3e3"
WARNING = "#b03a00"
SMALL_TEXT = 6.5

# Okabe & Ito (2008) without yellow, which is too light on white, and black, which is the reference; neighbours differ
# in lightness.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "X", "P", "<", "*", ">", "p", "h")
Dashes = Literal["-", "none"] | tuple[float, tuple[float, ...]]
DASHES: tuple[Dashes, ...] = ("-", (0, (5, 1.2)))

RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that figures are the same everywhere
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelsize": 7,
    "xtick.labelsize": SMALL_TEXT,
    "ytick.labelsize": SMALL_TEXT,
    "legend.fontsize": 7,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "se-probe",
}


@dataclass(frozen=True)
class CurveStyle:
    """Style of a curve, of points without a line (`linestyle` "none"), or of an area."""

    color: str
    linestyle: Dashes
    marker: str | None
    linewidth: float
    zorder: float
    order: int
    area: bool = False
    alpha: float = 1.0

    def marked_line(self, size: float = 3, *, hollow: bool = False) -> dict[str, Any]:
        """Return the arguments of `Axes.plot` for a line with a marker of this size, in points, at every point."""
        return {
            "color": self.color,
            "linestyle": self.linestyle,
            "linewidth": self.linewidth,
            "marker": self.marker,
            "markersize": size,
            "markerfacecolor": "white" if hollow else self.color,
            "markeredgewidth": 0.7 if hollow else 0,
        }

    def points(self) -> CurveStyle:
        """Return the style of the points alone, without a line."""
        return replace(self, linestyle="none")


REFERENCE = CurveStyle(color="black", linestyle=(0, (2.4, 1.8)), marker=None, linewidth=1.0, zorder=3.5, order=0)


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's defaults with the settings of this module, for the body of a `with` only."""
    with mpl_style.context(["default", RC]):
        yield


def quiet_title(axes: Axes, words: str) -> Text:
    """Write words to the right of the title of a panel."""
    return axes.set_title(words, loc="right", fontsize=SMALL_TEXT, fontweight="normal", color=QUIET)


def upright_names(axes: Axes, names: Sequence[str], most: int, size: float = SMALL_TEXT) -> None:
    """Label the x axis at 0, 1, …; with more than `most` names every second, third … one."""
    every = max(1, -(-len(names) // most))
    axes.set_xticks(range(0, len(names), every), list(names[::every]), rotation=90, fontsize=size)


def area_style(color: str, alpha: float = 1.0) -> CurveStyle:
    """Return the style of bars or bands of one colour."""
    return CurveStyle(color, "-", None, 0.9, 3, 0, area=True, alpha=alpha)


def class_styles(names: Sequence[str]) -> dict[str, CurveStyle]:
    """Return a style for each class, no two alike: colours repeat after six, with other dashes and markers."""
    return {
        name: CurveStyle(
            color=COLOURS[index % len(COLOURS)],
            linestyle=DASHES[index // len(COLOURS) % len(DASHES)],
            marker=MARKERS[(index + index // len(MARKERS)) % len(MARKERS)],
            linewidth=0.9,
            zorder=3,
            order=index,
        )
        for index, name in enumerate(names)
    }
