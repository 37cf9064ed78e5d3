"""What stands around the panels of a figure: title, caption and legend above, note and demo label below."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text

from se_probe.figures import style
from se_probe.figures.style import CurveStyle

DEMO_LABEL = "demo stimuli, not photographs"

# Inches, as are all lengths here: a figure is laid out at the size at which it is printed.
MARGIN = 0.08
TITLE_LINE = 0.17
TEXT_LINE = 0.125
LABEL_LINE = 0.16
PANEL_HEIGHT = 1.6
LABEL_CHARACTERS = 40


@dataclass(frozen=True)
class Wording:
    """The words around the panels; `note` says how branches are shown, `demo` puts the demo label."""

    title: str
    x_label: str
    y_label: str
    caption: str | None
    note: str | None
    demo: bool


def add_frame(figure: Figure, wording: Wording, styles: Mapping[str, CurveStyle], rows: int) -> None:
    """Add the words and the legend to a figure with `rows` rows of panels, and set its height to fit."""
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
        _demo_label(figure, 1 - left, MARGIN / 2 / height)


def _fitted(figure: Figure, text: Text) -> Text:
    """Wrap a text until its widest line fits between the margins of its figure."""
    words = text.get_text()
    characters = len(words)
    while (excess := _excess(text, figure)) > 1 and characters > 1:
        characters = min(characters - 1, max(1, int(characters / excess)))
        text.set_text(textwrap.fill(words, characters, break_on_hyphens=False))
    return text


def _excess(artist: Text | Legend, figure: Figure) -> float:
    """Width of a text or legend over the width between the margins."""
    return float(artist.get_window_extent().width / figure.dpi / (figure.get_figwidth() - 2 * MARGIN))


def _lines(text: Text) -> int:
    return len(text.get_text().splitlines())


def _quiet(figure: Figure, words: str | None, va: str) -> Text:
    return figure.text(0, 0, words or "", ha="left", va=va, fontsize=style.SMALL_TEXT, color=style.QUIET)


def _place_panels(figure: Figure, header: float, footer: float) -> None:
    """Keep the panels, whatever their tick labels need, between header and footer, right of the y label."""
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
    labels = [
        figure.supylabel(
            wording.y_label, x=MARGIN / 2 / width, y=(1 - (header - footer) / height) / 2, ha="left", fontsize=7
        ),
        figure.supxlabel(wording.x_label, x=0.5, y=below_panels / height, va="bottom", fontsize=7),
    ]
    for label in labels:
        label.set_in_layout(False)  # their places are taken out of the rectangle of the panels


def _demo_label(figure: Figure, x: float, y: float) -> None:
    figure.text(x, y, DEMO_LABEL, ha="right", va="bottom", fontsize=7, style="italic", color=style.WARNING)


def _legend(figure: Figure, styles: Mapping[str, CurveStyle]) -> Legend:
    """The legend in as few rows as the width of the figure allows."""
    rows = 1
    while True:
        columns = -(-len(styles) // rows)
        legend = _legend_of(figure, styles, columns)
        if columns == 1 or _excess(legend, figure) <= 1:
            return legend
        legend.remove()
        rows += 1


def _legend_of(figure: Figure, styles: Mapping[str, CurveStyle], columns: int) -> Legend:
    handles = [
        Line2D(
            [],
            [],
            color=look.color,
            linestyle=look.linestyle,
            linewidth=1.2,
            marker=look.marker,
            markersize=3.4,
        )
        for look in styles.values()
    ]
    return figure.legend(
        handles,
        [textwrap.fill(name, LABEL_CHARACTERS, break_on_hyphens=False) for name in styles],
        loc="upper left",
        ncols=columns,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=2.2,
        handletextpad=0.5,
        columnspacing=1.5,
        labelspacing=0.35,
    )
