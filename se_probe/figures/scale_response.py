"""Scale response: mean gate or attention difference at each scale, by site."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from se_probe.figures.by_site import name_sites, site_width
from se_probe.figures.frame import Wording, framed
from se_probe.figures.scale_images import scale_styles
from se_probe.figures.style import CurveStyle

NOTE = "Bars: 95 % interval over images, every class with equal weight."


def scale_response(
    response: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Scale response of the gates",
    caption: str | None = None,
) -> Figure:
    """Draw the mean at each scale above, and the mean absolute change from the smallest scale below, over sites.

    `response` is the table of `response`, with 95 % limits over images. The mean is that of the gates, or of the
    attention difference between kernels of different extent; branches of equal extent have a change only.

    Args:
        response: table of `response`: a row for each site and scale.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    looks = scale_styles(sorted(response["scale"].unique()))
    enlarged = dict(list(looks.items())[1:])
    sites = list(response["site"].unique())
    quantities = [name for name, rows in response.groupby("quantity", sort=False) if rows["value"].notna().any()]
    panels = [*quantities, "change"]
    wording = Wording(title, "site", "gate units", caption, NOTE, demo)
    styles = {f"{scale:g}×": look for scale, look in looks.items()}
    with framed(wording, styles, site_width(len(sites)), (len(panels), 1), sharex=True) as (figure, panels_of):
        grid = panels_of.ravel()
        for axes, name in zip(grid, quantities, strict=False):
            _plot(axes, response[response["quantity"] == name], "value", sites, looks)
            axes.set_title(name, loc="left", fontweight="bold", pad=4)
        _plot(grid[-1], response, "change", sites, enlarged)
        grid[-1].set_ylim(bottom=0)
        grid[-1].set_title(f"mean absolute change from {min(looks):g}×", loc="left", fontweight="bold", pad=4)
        name_sites(grid[-1], sites)
    return figure


def _plot(axes: Axes, rows: pd.DataFrame, column: str, sites: list[str], looks: Mapping[float, CurveStyle]) -> None:
    for place, (scale, look) in enumerate(looks.items()):
        line = rows[rows["scale"] == scale].set_index("site").reindex(sites)
        x = np.arange(len(sites)) + 0.12 * (place - (len(looks) - 1) / 2)
        axes.plot(x, line[column].to_numpy(), **look.marked_line())
        axes.vlines(x, line[f"{column}_ci_low"], line[f"{column}_ci_high"], color=look.color, linewidth=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
