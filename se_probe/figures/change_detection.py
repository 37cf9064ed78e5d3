"""Changed images told from plain ones: area under the curve of each score, beside the change of accuracy."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.figures import style
from se_probe.figures.by_site import look
from se_probe.figures.frame import Wording, framed

SCORES = ("gates", "pooled features", "softmax", "energy")
NOTE = "Bars: 95 % interval over images. Left of 0.5, changed images look more like plain ones than plain images do."
ROW = 0.13
"""Height of a row, in panels."""


def change_detection_figure(
    scores: pd.DataFrame, *, demo: bool, title: str = "Changed images told from plain ones", caption: str | None = None
) -> Figure:
    """Draw the area under the curve of each score by change, and the change of top-1 accuracy.

    Args:
        scores: rows of `change_detection` over all sites, with `top1_change`, `top1_ci_low` and `top1_ci_high`.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images.
    """
    rows = list(scores["condition"].unique())
    looks = {name: look(place).points() for place, name in enumerate(SCORES) if name in set(scores["score"])}
    judged = bool(scores["top1_change"].notna().any())
    wording = Wording(title, "", "", caption, NOTE, demo)
    height = 0.3 + ROW * len(rows)
    ratios = [2.2, 1] if judged else [1]
    with framed(wording, looks, style.DOUBLE_COLUMN, (1, len(ratios)), height, sharey=True, width_ratios=ratios) as (
        figure,
        grid,
    ):
        left = grid[0, 0]
        for place, (name, shown) in enumerate(looks.items()):
            lines = scores[scores["score"] == name].set_index("condition").reindex(rows)
            y = np.arange(len(rows)) + 0.18 * (place - (len(looks) - 1) / 2)
            left.hlines(y, lines["auc_ci_low"], lines["auc_ci_high"], color=shown.color, linewidth=0.8)
            left.plot(lines["auc"].to_numpy(), y, **shown.marked_line())
        left.axvline(0.5, color=style.QUIET, linewidth=0.7)
        left.set_xlim(-0.02, 1.02)
        left.set_title("area under the curve", loc="left", fontweight="bold", pad=4)
        _name_rows(left, rows)
        if judged:
            _accuracy(grid[0, 1], scores.drop_duplicates("condition").set_index("condition").reindex(rows))
    return figure


def _accuracy(axes: Axes, lines: pd.DataFrame) -> None:
    y = np.arange(len(lines))
    axes.hlines(y, 100 * lines["top1_ci_low"], 100 * lines["top1_ci_high"], color=style.TEXT, linewidth=0.8)
    axes.plot(100 * lines["top1_change"].to_numpy(), y, linestyle="none", marker="o", markersize=3, color=style.TEXT)
    axes.axvline(0, color=style.QUIET, linewidth=0.7)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    axes.set_title("change of top-1, points", loc="left", fontweight="bold", pad=4)


def _name_rows(axes: Axes, rows: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    for place in range(1, len(rows), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=style.RULE, alpha=0.35, linewidth=0, zorder=0)
