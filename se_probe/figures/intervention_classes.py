"""Who is hurt: the rise of NLL of every class when each site alone is replaced."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from se_probe.figures import style
from se_probe.figures.by_site import NARROW
from se_probe.figures.frame import Wording, add_frame
from se_probe.figures.intervention_cost import SITE
from se_probe.figures.matrix import MOST_NAMES, add_colour_bar, draw_matrix
from se_probe.figures.notebook_figure import NotebookFigure
from se_probe.figures.settle import freeze_layout

COLOURS = "PuOr_r"
"""Brewer's diverging purple and orange, which colour-blind readers tell apart; orange is harm."""
WIDTHS = (30, 1)
NAME_WIDTH = 26
CLASSES_A_ROW = 20
FEWEST_CUT = 100
"""Cells from which on the colours do not have to reach the most extreme one."""
UNSURE = "A dot: the cell's own 95 % interval holds 0, or there is none; nothing is corrected for so many cells."
CUT = "Colours end at ±{0:.2g}; cells beyond: {1}."


def intervention_classes(
    table: pd.DataFrame, *, demo: bool, title: str = "Who is hurt", caption: str | None = None
) -> Figure:
    """Change of NLL of each class (row) at each site alone (column), the classes that are hurt most at the top.

    `table` holds the rows of `ablation_classes_table` with one replacement; the mean over sites orders classes.
    Colours are centred on no change. So that a single cell does not bleach all others, they end where 2 % of many cells
    lie beyond.
    """
    alone = table[(table["scope"] == SITE) & table["nll_change"].notna()]
    sites = list(alone["sites"].unique())
    cells = alone.pivot(index="class", columns="sites", values="nll_change")[sites]
    order = cells.mean(axis=1).sort_values(ascending=False).index
    values = cells.loc[order].to_numpy()
    unsure = alone.assign(unsure=~((alone["nll_ci_low"] > 0) | (alone["nll_ci_high"] < 0)))
    dots = unsure.pivot(index="class", columns="sites", values="unsure").loc[order, sites].to_numpy(dtype=bool)
    reach = _reach(np.abs(values))
    beyond = int(np.sum(np.abs(values) > reach))
    with style.house_style():
        wide = len(sites) > NARROW
        figure = NotebookFigure(figsize=(style.DOUBLE_COLUMN if wide else style.SINGLE_COLUMN, 1))
        axes, bar = figure.subplots(1, 2, width_ratios=WIDTHS)
        image = draw_matrix(axes, values, COLOURS, (-reach, reach))
        _mark(axes, dots)
        _name_rows(axes, [str(name) for name in order])
        every = -(-len(sites) // (2 * NARROW))
        axes.set_xticks(range(0, len(sites), every), sites[::every], rotation=90)
        add_colour_bar(figure, bar, image, "rise of NLL, nats")
        note = " ".join([*([UNSURE] if dots.any() else []), *([CUT.format(reach, beyond)] if beyond else [])])
        wording = Wording(title, "site replaced alone", "", caption, note or None, demo)
        add_frame(figure, wording, {}, 1 + -(-min(len(order), MOST_NAMES) // CLASSES_A_ROW))
        freeze_layout(figure)
    return figure


def _reach(sizes: NDArray[np.float64]) -> float:
    return float(np.quantile(sizes, 0.98 if sizes.size >= FEWEST_CUT else 1.0)) or float(sizes.max()) or 1.0


def _mark(axes: Axes, dots: NDArray[np.bool_]) -> None:
    rows, columns = np.nonzero(dots)
    axes.plot(columns, rows, "o", color=style.QUIET, markersize=1.5, markeredgewidth=0)


def _name_rows(axes: Axes, names: list[str]) -> None:
    """Names, cut where they are long, while there is room for them."""
    if len(names) > MOST_NAMES:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} classes, the most hurt at the top")
        return
    short = [textwrap.shorten(name, NAME_WIDTH, placeholder="…") for name in names]
    axes.set_yticks(range(len(names)), short, fontsize=min(style.SMALL_TEXT, max(4.0, 260 / len(names))))
