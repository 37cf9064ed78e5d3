"""Intervention effect by class: rise of NLL, or loss by one's own measure, when each site alone is replaced."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from se_probe.analysis.outcomes import cost_of
from se_probe.figures import style
from se_probe.figures.by_site import NARROW, site_width
from se_probe.figures.frame import Wording, framed
from se_probe.figures.intervention_cost import SITE
from se_probe.figures.matrix import MOST_NAMES, add_colour_bar, draw_matrix, name_size

COLOURS = "PuOr_r"
"""Brewer's diverging purple and orange, which colour-blind readers tell apart; orange is harm."""
WIDTHS = (30, 1)
NAME_WIDTH = 26
CLASSES_A_ROW = 20
FEWEST_CUT = 100
"""Cells from which on the colours do not have to reach the most extreme one."""
SIGNIFICANT = "Dot: the cell's own 95 % interval excludes 0 (not corrected for the number of cells)."
CUT = "Colours end at ±{0:.2g}; cells beyond: {1}."


def intervention_classes(
    table: pd.DataFrame, *, demo: bool, title: str = "Interventions by class", caption: str | None = None
) -> Figure:
    """Draw the rise of NLL of each class (row) at each site alone (column), the largest at the top.

    Of one's own measure the loss: its fall, or where less is better its rise.

    `table` holds the rows of `ablation_classes_table` with one replacement; the mean over sites orders classes. Colours
    are centred on no change and end where 2 % of the cells lie beyond, so that one cell does not bleach all others.
    Dots mark the cells whose interval excludes 0.

    Args:
        table: rows of `ablation_classes_table` with one replacement; changes of NLL in nats.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    cost = cost_of(table)
    alone = table[(table["scope"] == SITE) & table[cost.change].notna()]
    loss, low, high = cost.losses(alone)
    alone = alone.assign(loss=loss, marked=(low > 0) | (high < 0))
    sites = list(alone["sites"].unique())
    cells = alone.pivot(index="class", columns="sites", values="loss")[sites]
    order = cells.mean(axis=1).sort_values(ascending=False).index
    values = cells.loc[order].to_numpy()
    dots = alone.pivot(index="class", columns="sites", values="marked").loc[order, sites].to_numpy(dtype=bool)
    reach = _reach(np.abs(values))
    beyond = int(np.sum(np.abs(values) > reach))
    note = " ".join([*([SIGNIFICANT] if dots.any() else []), *([CUT.format(reach, beyond)] if beyond else [])])
    wording = Wording(title, "site replaced alone", "", caption, note or None, demo)
    height = 1 + -(-min(len(order), MOST_NAMES) // CLASSES_A_ROW)
    with framed(wording, {}, site_width(len(sites)), (1, 2), height, width_ratios=WIDTHS) as (figure, grid):
        axes, bar = grid[0]
        image = draw_matrix(axes, values, COLOURS, (-reach, reach))
        _mark(axes, dots)
        _name_rows(axes, [str(name) for name in order])
        every = -(-len(sites) // (2 * NARROW))
        axes.set_xticks(range(0, len(sites), every), sites[::every], rotation=90)
        add_colour_bar(figure, bar, image, cost.loss_in_unit)
    return figure


def _reach(sizes: NDArray[np.float64]) -> float:
    return float(np.quantile(sizes, 0.98 if sizes.size >= FEWEST_CUT else 1.0)) or float(sizes.max()) or 1.0


def _mark(axes: Axes, dots: NDArray[np.bool_]) -> None:
    rows, columns = np.nonzero(dots)
    axes.plot(columns, rows, "o", color=style.TEXT, markersize=1.6, markeredgewidth=0)


def _name_rows(axes: Axes, names: list[str]) -> None:
    """Label the rows with shortened names, or state their number if there is no room."""
    if len(names) > MOST_NAMES:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} classes, hurt most at the top")
        return
    short = [textwrap.shorten(name, NAME_WIDTH, placeholder="…") for name in names]
    axes.set_yticks(range(len(names)), short, fontsize=name_size(len(names)))
