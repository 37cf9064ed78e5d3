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
    """Parameters of every site above, its operations for one image below, over sites.

    `table` is that of `cost_table`. Dashes are the SENet paper's formula, where a site has a reduction ratio.
    """
    marked = table["formula_parameters"].notna().any()
    looks = {COUNTED: COUNTED_LOOK} | ({FORMULA: FORMULA_LOOK} if marked else {})
    looks |= {MEANINGS[part]: style.area_style(colour) for part, colour in PARTS.items()}
    panels = {PARAMETERS: _parameters, "operations for one image": _operations}
    return draw_by_site(table, panels, Wording(title, "site", "", caption, None, demo), looks)


def cost_by_reduction(
    sweep: pd.DataFrame, *, demo: bool, title: str = "Cost by reduction ratio", caption: str | None = None
) -> Figure:
    """Parameters of the gates above, the increase over the network without gates below, over reduction ratios.

    `sweep` is the table of `reduction_sweep`; the network's own ratio is drawn dark.
    """
    looks = {COUNTED: COUNTED_LOOK, "(2 / r) Σ C²": FORMULA_LOOK, **INCREASES}
    wording = Wording(title, "reduction ratio r", "", caption, _note(sweep), demo)
    with framed(wording, looks, style.SINGLE_COLUMN, (2, 1), sharex=True) as (figure, grid):
        above, below = grid.ravel()
        _gate_parameters(above, sweep)
        _increases(below, sweep)
        places = np.arange(len(sweep))
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
    axes.plot(
        np.arange(len(values)),
        values.to_numpy(),
        linestyle="none",
        marker=FORMULA_LOOK.marker,
        markersize=6,
        markeredgewidth=1.1,
        color=FORMULA_LOOK.color,
        zorder=FORMULA_LOOK.zorder,
    )
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def _gate_parameters(axes: Axes, sweep: pd.DataFrame) -> None:
    colours = [style.QUIET if current else COUNTED_LOOK.color for current in sweep["current"]]
    axes.bar(np.arange(len(sweep)), sweep["gate_parameters"], 0.6, color=colours)
    _formula_dashes(axes, sweep["formula_parameters"])
    axes.set_title("parameters of the gates", loc="left", fontweight="bold", pad=4)


def _increases(axes: Axes, sweep: pd.DataFrame) -> None:
    for name, drawn in INCREASES.items():
        values = sweep[f"{name}_increase"].to_numpy()
        axes.plot(np.arange(len(sweep)), values, **drawn.marked_line())
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("increase over the network without gates, log scale", loc="left", fontweight="bold", pad=4)


def _note(sweep: pd.DataFrame) -> str | None:
    return "Dark: the network as it is." if sweep["current"].any() else None
