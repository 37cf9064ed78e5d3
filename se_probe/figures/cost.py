"""What gates cost: by site, and at other reduction ratios."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from se_probe.figures import style
from se_probe.figures.by_site import draw_by_site, look
from se_probe.figures.frame import Wording, framed
from se_probe.figures.style import CurveStyle

PARTS = {"squeeze": "#56B4E9", "excitation": "#0072B2", "scale": "#E69F00"}
MEANINGS = {
    "squeeze": "squeeze, additions",
    "excitation": "excitation, multiply-adds",
    "scale": "scale, multiplications",
}
COUNTED, FORMULA = "counted", "2 C² / r"
COUNTED_LOOK = style.area_style("#b8b8b8")
FORMULA_LOOK = CurveStyle("black", "none", "_", 0, 4, 1)
PARAMETERS, OPERATIONS = "parameters", "operations"
INCREASES = {PARAMETERS: look(4), OPERATIONS: look(0)}


def cost_by_site(
    table: pd.DataFrame, *, demo: bool, title: str = "Cost of the gates by site", caption: str | None = None
) -> Figure:
    """Draw the parameters of every site above, its operations for one image below, over sites.

    Dashes are the SENet paper's formula, where a site has a reduction ratio.

    Args:
        table: table of `cost_table`: one row per site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """
    looks = {COUNTED: COUNTED_LOOK}
    if table["formula_parameters"].notna().any():
        looks[FORMULA] = FORMULA_LOOK
    looks |= {MEANINGS[part]: style.area_style(colour) for part, colour in PARTS.items()}
    panels = {PARAMETERS: _parameters, "operations for one image": _operations}
    return draw_by_site(table, panels, Wording(title, "site", "", caption, None, demo), looks)


def cost_by_reduction(
    sweep: pd.DataFrame, *, demo: bool, title: str = "Cost by reduction ratio", caption: str | None = None
) -> Figure:
    """Draw the parameters of the gates above, the increase over the network without gates below, over reduction ratios.

    The network's own ratio is drawn dark.

    Args:
        sweep: table of `reduction_sweep`: one row per ratio.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """
    looks = {COUNTED: COUNTED_LOOK, "(2 / r) Σ C²": FORMULA_LOOK, **INCREASES}
    note = "Dark: the network as it is." if sweep["current"].any() else None
    wording = Wording(title, "reduction ratio r", "", caption, note, demo)
    places = np.arange(len(sweep))
    with framed(wording, looks, style.SINGLE_COLUMN, (2, 1), sharex=True) as (figure, grid):
        above, below = grid.ravel()
        colours = [style.QUIET if current else COUNTED_LOOK.color for current in sweep["current"]]
        above.bar(places, sweep["gate_parameters"], 0.6, color=colours)
        _formula_dashes(above, sweep["formula_parameters"])
        above.set_title("parameters of the gates")
        _increases(below, sweep)
        below.set_xticks(places, [f"{ratio:g}" for ratio in sweep["reduction"]])
        below.set_xlim(-0.6, len(sweep) - 0.4)
    return figure


def _parameters(axes: Axes, table: pd.DataFrame) -> None:
    axes.bar(np.arange(len(table)), table["parameters"], 0.8, color=COUNTED_LOOK.color)
    _formula_dashes(axes, table["formula_parameters"])


def _operations(axes: Axes, table: pd.DataFrame) -> None:
    base, places = np.zeros(len(table)), np.arange(len(table))
    for part, colour in PARTS.items():
        amount = table[part].to_numpy()
        axes.bar(places, amount, 0.8, base, color=colour, edgecolor="white", linewidth=0.4)
        base = base + amount
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def _formula_dashes(axes: Axes, values: pd.Series) -> None:
    dashes = {**FORMULA_LOOK.marked_line(6), "markeredgewidth": 1.1}
    axes.plot(np.arange(len(values)), values.to_numpy(), **dashes, zorder=FORMULA_LOOK.zorder)
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def _increases(axes: Axes, sweep: pd.DataFrame) -> None:
    for name, drawn in INCREASES.items():
        axes.plot(np.arange(len(sweep)), sweep[f"{name}_increase"].to_numpy(), **drawn.marked_line())
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("increase over the network without gates, log scale")
