"""What gates cost: by site, and at other reduction ratios."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from se_probe.figures import style
from se_probe.figures.by_site import framed_by_site, look, plot_stacked
from se_probe.figures.frame import Wording, framed
from se_probe.figures.style import CurveStyle

PARTS = {
    "squeeze": ("squeeze, additions", "#56B4E9"),
    "excitation": ("excitation, multiply-adds", "#0072B2"),
    "scale": ("scale, multiplications", "#E69F00"),
}
"""What the legend calls a part of a gate's operations, and its colour."""
COUNTED, FORMULA = "counted", "2 C² / r"
COUNTED_LOOK = style.area_style("#b8b8b8")
FORMULA_LOOK = CurveStyle("black", "none", "_", 0, 4, 1)
INCREASES = {"parameters": look(4), "operations": look(0)}


def cost_by_site(
    table: pd.DataFrame, *, demo: bool, title: str = "Cost of the gates by site", caption: str | None = None
) -> Figure:
    """Draw the parameters of every site of `cost_table` above, its operations for one image below, over sites.

    Dashes are the SENet paper's formula, where a site has a reduction ratio.
    """
    looks = {COUNTED: COUNTED_LOOK}
    if table["formula_parameters"].notna().any():
        looks[FORMULA] = FORMULA_LOOK
    looks |= {words: style.area_style(colour) for words, colour in PARTS.values()}
    titles, wording = ["parameters", "operations for one image"], Wording(title, demo, caption, "site")
    with framed_by_site(table["site"], titles, wording, looks) as (figure, (parameters, operations)):
        parameters.bar(np.arange(len(table)), table["parameters"], 0.8, color=COUNTED_LOOK.color)
        _formula_dashes(parameters, table["formula_parameters"])
        plot_stacked(operations, table, PARTS)
        operations.yaxis.set_major_formatter(EngFormatter(sep=""))
    return figure


def cost_by_reduction(
    sweep: pd.DataFrame, *, demo: bool, title: str = "Cost by reduction ratio", caption: str | None = None
) -> Figure:
    """Draw the parameters of the gates above, the increase over the network without gates below, over reduction ratios.

    The ratios are those of `reduction_sweep`; the network's own is drawn dark.
    """
    looks = {COUNTED: COUNTED_LOOK, "(2 / r) Σ C²": FORMULA_LOOK, **INCREASES}
    note = "Dark: the network as it is." if sweep["current"].any() else ""
    wording = Wording(title, demo, caption, "reduction ratio r", note=note)
    positions = np.arange(len(sweep))
    with framed(wording, looks, style.SINGLE_COLUMN, (2, 1), sharex=True) as (figure, grid):
        above, below = grid.ravel()
        colours = [style.QUIET if current else COUNTED_LOOK.color for current in sweep["current"]]
        above.bar(positions, sweep["gate_parameters"], 0.6, color=colours)
        _formula_dashes(above, sweep["formula_parameters"])
        above.set_title("parameters of the gates")
        for name, drawn in INCREASES.items():
            below.plot(positions, sweep[f"{name}_increase"].to_numpy(), **drawn.marked_line())
        below.set_yscale("log")
        below.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        below.yaxis.set_minor_formatter(NullFormatter())
        below.set_title("increase over the network without gates, log scale")
        below.set_xticks(positions, [f"{ratio:g}" for ratio in sweep["reduction"]])
        below.set_xlim(-0.6, len(sweep) - 0.4)
    return figure


def _formula_dashes(axes: Axes, values: pd.Series) -> None:
    dashes = {**FORMULA_LOOK.marked_line(6), "markeredgewidth": 1.1}
    axes.plot(np.arange(len(values)), values.to_numpy(), **dashes, zorder=FORMULA_LOOK.zorder)
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
