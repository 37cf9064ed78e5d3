"""How the gates of every site answer to the size of what is seen."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.figures import style
from se_probe.figures.frame import Wording, add_frame
from se_probe.figures.notebook_figure import NotebookFigure
from se_probe.figures.scale_images import scale_styles
from se_probe.figures.settle import freeze_layout
from se_probe.figures.style import CurveStyle

NARROW = 20  # sites up to which one column is wide enough


def scale_response(
    response: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Response of the gates to scale",
    caption: str | None = None,
) -> Figure:
    """Level of the gates at each scale above, mean absolute change from the smallest scale below, over sites.

    `response` is the table of `response`. The level is the mean gate, or with kernels of different extent the
    mean attention difference; branches of equal extent have a change only.
    """
    looks = scale_styles(sorted(response["scale"].unique()))
    enlarged = dict(list(looks.items())[1:])
    sites = list(response["site"].unique())
    quantities = [name for name, rows in response.groupby("quantity", sort=False) if rows["value"].notna().any()]
    panels = [*quantities, "change"]
    with style.house_style():
        width = style.SINGLE_COLUMN if len(sites) <= NARROW else style.DOUBLE_COLUMN
        figure = NotebookFigure(figsize=(width, len(panels)))
        grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True).ravel()
        for axes, name in zip(grid, quantities, strict=False):
            _plot(axes, response[response["quantity"] == name], "value", sites, looks)
            axes.set_title(name, loc="left", fontweight="bold", pad=4)
        _plot(grid[-1], response, "change", sites, enlarged)
        grid[-1].set_ylim(bottom=0)
        grid[-1].set_title(f"mean absolute change from {min(looks):g}×", loc="left", fontweight="bold", pad=4)
        every = -(-len(sites) // (2 * NARROW))
        grid[-1].set_xticks(range(0, len(sites), every), sites[::every], rotation=90)
        wording = Wording(title, "site", "gate units", caption, None, demo)
        add_frame(figure, wording, {f"{scale:g}×": look for scale, look in looks.items()}, len(panels))
        freeze_layout(figure)
    return figure


def _plot(axes: Axes, rows: pd.DataFrame, column: str, sites: list[str], looks: Mapping[float, CurveStyle]) -> None:
    for scale, look in looks.items():
        line = rows[rows["scale"] == scale].set_index("site")[column].reindex(sites)
        axes.plot(
            np.arange(len(sites)),
            line.to_numpy(),
            **look.marked_line(),
        )
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
