"""Where gates look: thumbnails, and below each the map of a channel's gate logit."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed

COLOURS = "berlin"
"""Perceptually uniform from blue over black to red (Crameri, Scientific colour maps, 2018)."""
WITHIN = 0.98
"""Share of a channel's cells whose values the colours tell apart; a single cell may lie far outside."""
LINE_LENGTH = 15
ROW_HEIGHT = 1.35
ON_PIXELS = (
    "Red positions raise the logit, blue ones lower it, by as much as the bar says for each cell of the feature map "
    "(2 % of the cells lie beyond its ends); grey does neither. Drawn over the pixels, because masking these moves the "
    "logit more than masking others."
)
ON_GRID = (
    "Red positions raise the logit, blue ones lower it, by as much as the bar says (2 % of the cells lie beyond its "
    "ends). Cells of the feature map alone: masking pixels by this site's maps was not shown to move the logit more "
    "than masking others."
)

PANELS_A_ROW, IMAGE_ROW = 6, 0.85
MAPS_OF_AN_IMAGE = (
    "Cells of the feature map: red ones raise the gate's logit, blue ones lower it; colours are scaled to the largest "
    "of each map. What a cell sees of the image is as wide as its receptive field."
)


@dataclass(frozen=True)
class MapPanel:
    """An image and where one gate looks in it.

    Attributes:
        channel: the gate's channel.
        picture: `(height, width, 3)`, from 0 to 1, as the network sees it.
        shares: `(height, width)`, what each position of the feature map adds to the logit.
        label: the image's class.
        gate: the gate.
    """

    channel: int
    picture: NDArray[np.floating]
    shares: NDArray[np.floating]
    label: str
    gate: float


def gate_maps(
    rows: Sequence[Sequence[MapPanel]], *, site: str, in_pixels: bool, demo: bool, caption: str | None = None
) -> Figure:
    """Draw where the gates of a site look: a pair of rows per channel, images above and maps below.

    Colours are symmetric about zero, with the same limits for all images of a channel.

    Args:
        rows: for each channel its panels, the same number for all.
        site: the site.
        in_pixels: whether maps are drawn smoothly over the pixels; else as cells of the feature map.
    """
    columns = max(map(len, rows))
    wording = Wording(f"Where gates of {site} look", demo, caption, note=ON_PIXELS if in_pixels else ON_GRID)
    ratios = [1.0] * columns + [0.12]
    grid = (2 * len(rows), columns + 1)
    with framed(wording, {}, style.DOUBLE_COLUMN, grid, ROW_HEIGHT * len(rows), width_ratios=ratios) as (figure, cells):
        for axes in figure.axes:
            _clear(axes)
        for panels, pair in zip(rows, cells.reshape(len(rows), 2, -1), strict=True):
            limit = float(np.quantile(np.abs([panel.shares for panel in panels]), WITHIN)) or 1.0
            for panel, (above, below) in zip(panels, pair.T, strict=False):
                _show(above, panel.picture)
                label = textwrap.shorten(panel.label, LINE_LENGTH, placeholder="…")
                above.set_title(f"{label}\n{panel.gate:.2f}", pad=2, fontweight="normal")
                _draw_map(below, panel, limit, in_pixels)
            pair[0, 0].set_ylabel(f"channel {panels[0].channel}\nclass, gate", fontsize=7)
            pair[1, 0].set_ylabel("map", fontsize=7)
            _draw_bar(pair[1, -1], limit, in_pixels)
    return figure


def _clear(axes: Axes) -> None:
    """Remove ticks, grid and spines of axes that hold a picture, and leave room for a label."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _coloured(shares: NDArray[np.floating], limit: float) -> NDArray[np.float64]:
    colours: NDArray[np.float64] = mpl.colormaps[COLOURS](0.5 + shares / (2 * limit))[..., :3]
    return colours


def _over(grey: NDArray[np.floating] | float, shares: NDArray[np.floating], limit: float) -> NDArray[np.float64]:
    """Return colours over a grey picture, the more opaque the further their value is from zero."""
    hidden = np.sqrt(np.clip(np.abs(shares) / limit, 0, 1))[..., None]
    return np.asarray(hidden * _coloured(shares, limit) + (1 - hidden) * np.asarray(grey)[..., None])


def _draw_map(axes: Axes, panel: MapPanel, limit: float, in_pixels: bool) -> None:
    shares = np.asarray(panel.shares, dtype=np.float32)
    if not in_pixels:
        _show(axes, _coloured(shares, limit))
        return
    height, width = panel.picture.shape[:2]
    smooth = np.asarray(Image.fromarray(shares).resize((width, height), Image.Resampling.BILINEAR))
    _show(axes, _over(0.35 + 0.5 * panel.picture.mean(2), smooth, limit))


def _show(axes: Axes, picture: NDArray[np.floating]) -> None:
    """Draw a picture with its own pixels."""
    axes.imshow(picture, interpolation="none", extent=(0, 1, 0, 1))


def _draw_bar(axes: Axes, limit: float, in_pixels: bool) -> None:
    values = np.linspace(limit, -limit, 101)[:, None]
    colours = _over(0.6, values, limit) if in_pixels else _coloured(values, limit)
    axes.imshow(colours, aspect="auto", extent=(0, 1, -limit, limit), interpolation="none")
    axes.yaxis.tick_right()
    axes.set_yticks([-limit, 0, limit], [f"−{limit:.2g}", "0", f"+{limit:.2g}"])
    axes.yaxis.set_label_position("right")
    axes.set_ylabel("logits per cell", fontsize=style.SMALL_TEXT)


@dataclass(frozen=True)
class GatePanel:
    """A gate of one image, and where it gets its evidence.

    Attributes:
        name: site and channel.
        gate, reference: the gate, and what it is compared with.
        shares: `(height, width)`, what each position of the feature map adds to the gate's logit.
    """

    name: str
    gate: float
    reference: float
    shares: NDArray[np.floating]


def image_maps(
    picture: NDArray[np.floating], panels: Sequence[GatePanel], *, title: str, demo: bool, caption: str | None = None
) -> Figure:
    """Draw an image, `(height, width, 3)` from 0 to 1, and where its gates get their evidence, each with its limits."""
    rows = -(-(len(panels) + 1) // PANELS_A_ROW)
    wording = Wording(title, demo, caption, note=MAPS_OF_AN_IMAGE)
    with framed(wording, {}, style.DOUBLE_COLUMN, (rows, PANELS_A_ROW), IMAGE_ROW * rows) as (figure, cells):
        first, *others = cells.ravel()
        for axes in cells.ravel():
            _clear(axes)
        _show(first, picture)
        first.set_title("the image\ngate (compared with)", pad=2, fontsize=style.SMALL_TEXT)
        for axes, panel in zip(others, panels, strict=False):
            limit = float(np.abs(panel.shares).max()) or 1.0
            _show(axes, _coloured(panel.shares, limit))
            words = f"{panel.name}\n{panel.gate:.2f} ({panel.reference:.2f})"
            axes.set_title(words, pad=2, fontsize=style.SMALL_TEXT)
    return figure
