"""Figures of changed images: the pictures, how far gates move, and how well scores detect the change."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.by_site import NARROW, look, site_width
from se_probe.figures.classes import add_colour_bar, draw_matrix, name_size
from se_probe.figures.frame import Wording, framed

PICTURES_A_ROW = 8
STILL_NOTE = "White dot: no shift of the gates was found at the site (paired sign-flip test, Holm over sites)."
MATRIX_ROW, DETECTION_ROW = 0.1, 0.13
"""Heights of a row, in panels."""
SCORES = ("gates", "pooled features", "softmax", "energy")
SCORES_NOTE = (
    "Bars: 95 % interval over images. Left of 0.5, changed images look more like plain ones than plain images do."
)


def change_images(
    listed: pd.DataFrame,
    thumbnails: Mapping[tuple[str, str], NDArray[np.uint8]],
    *,
    demo: bool,
    title: str = "Images under change",
    caption: str | None = None,
) -> Figure:
    """Draw the listed pictures, a `path` and `condition` each, in rows of eight for each image, plain ones first.

    Thumbnails are `(side, side, 3)`, 8-bit, by path and condition.
    """
    conditions, paths = list(listed["condition"].unique()), list(listed["path"].unique())
    lines, columns = -(-len(conditions) // PICTURES_A_ROW), min(len(conditions), PICTURES_A_ROW)
    shape = lines * len(paths), columns
    width = max(style.DOUBLE_COLUMN * columns / PICTURES_A_ROW, style.SINGLE_COLUMN)
    with framed(Wording(title, demo, caption), {}, width, shape, 0.65 * shape[0]) as (figure, grid):
        for axes in grid.ravel():
            axes.set_axis_off()
        for path, block in zip(paths, np.split(grid, len(paths)), strict=True):
            for condition, axes in zip(conditions, block.ravel(), strict=False):
                if (path, condition) in thumbnails:
                    axes.imshow(thumbnails[path, condition])
                axes.set_title(condition, fontsize=style.SMALL_TEXT, pad=2)
    return figure


def change_response(
    sites: pd.DataFrame, *, demo: bool, title: str = "Gates under change", caption: str | None = None
) -> Figure:
    """Draw the shifts of `change_sites`, in SD of the plain images, as a matrix of changes and sites."""
    rows, columns = list(sites["condition"].unique()), list(sites["site"].unique())
    by_cell = sites.pivot(index="condition", columns="site", values=["moved_sd", "pattern"]).loc[rows]
    values = by_cell["moved_sd"][columns].to_numpy(dtype=np.float64)
    still = (by_cell["pattern"][columns] != "moves").to_numpy()
    wording = Wording(title, demo, caption, "site", note=STILL_NOTE if still.any() else "")
    height = 0.35 + MATRIX_ROW * len(rows)
    width = style.SINGLE_COLUMN if len(columns) <= NARROW // 2 else max(site_width(len(columns)), 4.8)
    with framed(wording, {}, width, (1, 2), height, width_ratios=[1, 0.025]) as (figure, grid):
        axes, bar = grid[0]
        top = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
        image = draw_matrix(axes, values, "viridis", (0, top))
        axes.set_yticks(range(len(rows)), rows, fontsize=name_size(len(rows)))
        style.upright_names(axes, columns, len(columns), name_size(len(columns)))
        y, x = np.nonzero(still)
        axes.plot(x, y, linestyle="none", marker="o", markersize=2, color="white", markeredgewidth=0)
        kinds = [name.split()[0] for name in rows]
        for row in range(1, len(rows)):
            if kinds[row] != kinds[row - 1]:
                axes.axhline(row - 0.5, color="white", linewidth=1.2)
        add_colour_bar(figure, image, "shift, SD of plain images", cax=bar)
    return figure


def change_detection_figure(
    scores: pd.DataFrame, *, demo: bool, title: str = "Changed images told from plain ones", caption: str | None = None
) -> Figure:
    """Draw the area under the curve of each score by change, and the change of top-1 accuracy.

    `scores` are rows of `change_detection` over all sites, with `top1_change`, `top1_ci_low` and `top1_ci_high`.
    """
    rows = list(scores["condition"].unique())
    looks = {name: look(order).points() for order, name in enumerate(SCORES) if name in set(scores["score"])}
    ratios = [2.2, 1] if scores["top1_change"].notna().any() else [1]
    size = style.DOUBLE_COLUMN, (1, len(ratios)), 0.3 + DETECTION_ROW * len(rows)
    wording = Wording(title, demo, caption, note=SCORES_NOTE)
    with framed(wording, looks, *size, sharey=True, width_ratios=ratios) as (figure, grid):
        left, *right = grid[0]
        for order, (name, shown) in enumerate(looks.items()):
            lines = scores[scores["score"] == name].set_index("condition").reindex(rows)
            y = np.arange(len(rows)) + 0.18 * (order - (len(looks) - 1) / 2)
            left.hlines(y, lines["auc_ci_low"], lines["auc_ci_high"], color=shown.color, linewidth=0.8)
            left.plot(lines["auc"].to_numpy(), y, **shown.marked_line())
        left.axvline(0.5, color=style.QUIET, linewidth=0.7)
        left.set_xlim(-0.02, 1.02)
        left.set_title("area under the curve")
        left.set_yticks(range(len(rows)), rows)
        left.set_ylim(len(rows) - 0.5, -0.5)
        for row in range(1, len(rows), 2):
            left.axhspan(row - 0.5, row + 0.5, color=style.RULE, alpha=0.35, linewidth=0, zorder=0)
        for axes in right:
            _draw_accuracy(axes, scores.drop_duplicates("condition").set_index("condition").reindex(rows))
        for axes in grid[0]:
            axes.grid(False, axis="y")
            axes.grid(True, axis="x")
    return figure


def _draw_accuracy(axes: Axes, lines: pd.DataFrame) -> None:
    y = np.arange(len(lines))
    axes.hlines(y, 100 * lines["top1_ci_low"], 100 * lines["top1_ci_high"], color=style.TEXT, linewidth=0.8)
    axes.plot(100 * lines["top1_change"].to_numpy(), y, linestyle="none", marker="o", markersize=3, color=style.TEXT)
    axes.axvline(0, color=style.QUIET, linewidth=0.7)
    axes.set_title("change of top-1, points")
