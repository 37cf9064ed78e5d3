"""The frame of a figure: title, caption and legend above the panels, note and demo label below; and its files."""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.style import CurveStyle
from se_probe.io.files import write_csv, write_file

DEMO_LABEL = "demo stimuli, not photographs"

# Inches, as are all lengths here: a figure is laid out at the size at which it is printed.
MARGIN = 0.08
TITLE_LINE = 0.17
TEXT_LINE = 0.125
LABEL_LINE = 0.16
PANEL_HEIGHT = 1.6
LABEL_CHARACTERS = 40
SCREEN_DPI, PRINT_DPI = 144, 300
DIGITS = 6
"""Digits of a panel's position, as a share of the figure: a thousandth of a pixel."""
# No creation date: the same figure gives the same bytes.
METADATA: dict[str, dict[str, str | None]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


@dataclass(frozen=True)
class Wording:
    """The text around the panels.

    Attributes:
        title: heading of the figure.
        demo: whether the network or the images are the demo's; the figure is then marked.
        caption: line below the heading: network, images, estimator.
        x_label, y_label: labels of the axes of all panels.
        note: line below the panels.
    """

    title: str
    demo: bool
    caption: str | None = None
    x_label: str = ""
    y_label: str = ""
    note: str = ""


class NotebookFigure(Figure):
    """A matplotlib Figure that displays itself in a notebook without pyplot."""

    def _repr_png_(self) -> bytes:
        return _rendered(self, "png", SCREEN_DPI)


@contextmanager
def framed(
    wording: Wording,
    styles: Mapping[str, CurveStyle],
    width: float,
    panels: tuple[int, int],
    rows: float | None = None,
    **subplots: Any,
) -> Iterator[tuple[NotebookFigure, NDArray[np.object_]]]:
    """Yield a figure in the house style with a grid of axes to fill, then add the frame and fix the layout.

    Args:
        wording: title, labels, caption and note.
        styles: name → style of the legend's entries.
        width: width of the figure, in inches.
        panels: rows and columns of the grid.
        rows: height of the grid, in multiples of `PANEL_HEIGHT`; by default its number of rows.
        subplots: further arguments of `Figure.subplots`.
    """
    with style.house_style():
        figure = NotebookFigure(figsize=(width, panels[0]))
        yield figure, figure.subplots(*panels, squeeze=False, **subplots)
        add_frame(figure, wording, styles, panels[0] if rows is None else rows)
        freeze_layout(figure)


def filled(grid: NDArray[np.object_], panels: int) -> list[Axes]:
    """Return the first axes of a grid, one for each panel, and remove the others."""
    used, unused = np.split(grid.ravel(), [panels])
    for axes in unused:
        axes.remove()
    return list(used)


def freeze_layout(figure: Figure) -> None:
    """Lay a figure out and keep the rounded positions of its panels, so that the same figure gives the same bytes.

    The layout solver differs in the last digits from run to run, and these digits end up in names within SVG.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(tuple(np.round(axes.get_position(original=True).bounds, DIGITS)))
    for text in figure.texts:
        text.set_in_layout(True)  # pyplot in a notebook crops a figure to what is in its layout


def add_frame(figure: Figure, wording: Wording, styles: Mapping[str, CurveStyle], rows: float) -> None:
    """Add text and legend to a figure, and set its height to fit them and panels of `rows` rows."""
    title = _fitted(figure, figure.suptitle(wording.title, fontsize=8.5, fontweight="bold", in_layout=False))
    caption = _fitted(figure, _quiet(figure, wording.caption, "top"))
    note = _fitted(figure, _quiet(figure, wording.note, "bottom"))
    legend = _legend(figure, styles)
    above_caption = MARGIN + TITLE_LINE * _lines(title)
    above_legend = above_caption + TEXT_LINE * _lines(caption) + MARGIN
    header = above_legend + legend.get_window_extent().height / figure.dpi + MARGIN
    below_panels = TEXT_LINE * (_lines(note) + wording.demo) + MARGIN
    footer = below_panels + LABEL_LINE
    height = header + footer + min(PANEL_HEIGHT * rows, style.PAGE_HEIGHT - header - footer)
    figure.set_figheight(height)
    _place_panels(figure, header, footer)
    _axis_labels(figure, wording, (header, footer, below_panels))
    left = MARGIN / figure.get_figwidth()
    title.set(x=left, y=1 - MARGIN / height, ha="left", va="top")
    caption.set(x=left, y=1 - above_caption / height)
    legend.set_bbox_to_anchor((left, 1 - above_legend / height), figure.transFigure)
    note.set(x=left, y=(MARGIN / 2 + TEXT_LINE * wording.demo) / height)
    if wording.demo:
        look: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 7, "style": "italic", "color": style.WARNING}
        figure.text(1 - left, MARGIN / 2 / height, DEMO_LABEL, **look)


def _fitted(figure: Figure, text: Text) -> Text:
    """Wrap a text until its widest line fits between the margins."""
    words = text.get_text()
    characters = len(words)
    while (excess := _excess(text, figure)) > 1 and characters > 1:
        characters = min(characters - 1, max(1, int(characters / excess)))
        text.set_text(textwrap.fill(words, characters, break_on_hyphens=False))
    return text


def _excess(artist: Text | Legend, figure: Figure) -> float:
    """Width of a text or legend as a multiple of the width between the margins."""
    return float(artist.get_window_extent().width / figure.dpi / (figure.get_figwidth() - 2 * MARGIN))


def _lines(text: Text) -> int:
    return len(text.get_text().splitlines())


def _quiet(figure: Figure, words: str | None, va: str) -> Text:
    return figure.text(0, 0, words or "", ha="left", va=va, fontsize=style.SMALL_TEXT, color=style.QUIET)


def _place_panels(figure: Figure, header: float, footer: float) -> None:
    """Keep panels and their tick labels between header and footer, right of the y label."""
    width, height = figure.get_size_inches()
    rectangle = (
        1.2 * LABEL_LINE / width,
        footer / height,
        1 - (1.2 * LABEL_LINE + MARGIN / 2) / width,
        1 - (header + footer) / height,
    )
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=rectangle, h_pad=0.03, w_pad=0.03, hspace=0.06, wspace=0.03))


def _axis_labels(figure: Figure, wording: Wording, heights: tuple[float, float, float]) -> None:
    width, height = figure.get_size_inches()
    header, footer, below_panels = heights
    middle = (1 - (header - footer) / height) / 2
    labels = [
        figure.supylabel(wording.y_label, x=MARGIN / 2 / width, y=middle, ha="left", fontsize=7),
        figure.supxlabel(wording.x_label, x=0.5, y=below_panels / height, va="bottom", fontsize=7),
    ]
    for label in labels:
        label.set_in_layout(False)  # the rectangle of the panels leaves room for them


def _legend(figure: Figure, styles: Mapping[str, CurveStyle]) -> Legend:
    """Add the legend in as few rows as the width allows."""
    handles = [_handle(look) for look in styles.values()]
    names = [textwrap.fill(name, LABEL_CHARACTERS, break_on_hyphens=False) for name in styles]
    lengths = {"handlelength": 2.2, "handletextpad": 0.5, "columnspacing": 1.5, "labelspacing": 0.35}
    for rows in count(1):
        columns = -(-len(styles) // rows)
        legend = figure.legend(
            handles, names, loc="upper left", ncols=columns, frameon=False, borderpad=0, borderaxespad=0, **lengths
        )
        if columns <= 1 or _excess(legend, figure) <= 1:
            break
        legend.remove()
    return legend


def _handle(look: CurveStyle) -> Patch | Line2D:
    if look.area:
        return Patch(facecolor=look.color, alpha=look.alpha, linewidth=0)
    return Line2D(
        [],
        [],
        color=look.color,
        linestyle=look.linestyle,
        linewidth=look.linewidth,
        marker=look.marker,
        markersize=3.4,
        markeredgewidth=1.0 if look.marker == "_" else 0,
    )


def model_line(model: Mapping[str, str], *, complete: bool = True) -> str:
    """Return a network and its weights in words."""
    name, weights = model["name"], model["weights"]
    line = name if weights == f"as built by {name}" else f"{name}, {weights}"
    return line if complete else f"{line} · INCOMPLETE RUN"


def curves_caption(network: str, curves: pd.DataFrame) -> str:
    """Return the network, the number of images behind each curve, and the reference, in one line."""
    counts = curves.loc[curves["role"] == "class", "count"]
    low, high = int(counts.min()), int(counts.max())
    number = str(low) if low == high else f"{low} to {high}"
    parts = [network, f"{number} image{'s' if high > 1 else ''} per class"]
    for name, rows in curves[curves["role"] == "reference"].groupby("class"):
        parts.append(f"{name}: {int(rows['count'].iloc[0])} images, equal weight per class")
    return " · ".join(parts)


def save_figure(figure: Figure, curves: pd.DataFrame, directory: Path, stem: str) -> list[Path]:
    """Write `stem`.png (300 dpi), .pdf, .svg and .csv (`curves`) to `directory`; return their paths.

    All are rendered before the first is written, and each appears whole or not at all.

    Args:
        figure: the figure.
        curves: the numbers behind it.
        directory: folder; it is made where it is missing.
        stem: name of the files without suffix.

    Raises:
        SeProbeError: the folder cannot be written.
    """
    contents = {suffix: _rendered(figure, suffix) for suffix in METADATA}
    for suffix, content in contents.items():
        write_file(directory / f"{stem}.{suffix}", content)
    write_csv(curves, directory / f"{stem}.csv")
    return [directory / f"{stem}.{suffix}" for suffix in (*contents, "csv")]


def _rendered(figure: Figure, suffix: str, dpi: int = PRINT_DPI) -> bytes:
    title = figure.get_suptitle().replace("\n", " ")
    stream = BytesIO()
    with style.house_style():
        figure.savefig(stream, format=suffix, dpi=dpi, metadata={"Title": title, **METADATA[suffix]})
    return stream.getvalue()
