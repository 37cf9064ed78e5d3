"""Gates under change: how far gates move, by change and strength and by site."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from se_probe.figures import style
from se_probe.figures.by_site import NARROW, site_width
from se_probe.figures.classes import add_colour_bar, draw_matrix, name_size
from se_probe.figures.frame import Wording, framed
from se_probe.figures.style import CurveStyle

NOTE = "White dot: no shift of the gates was found at the site (paired sign-flip test, Holm over sites)."
ROW = 0.1
"""Height of a row, in panels."""


def change_response(
    sites: pd.DataFrame, *, demo: bool, title: str = "Gates under change", caption: str | None = None
) -> Figure:
    """Draw a matrix of changes, by strength from weak to strong, and sites: shift in SD of the plain images.

    Args:
        sites: table of `change_sites`: a row for each change and site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images.
    """
    rows, columns = list(sites["condition"].unique()), list(sites["site"].unique())
    values = sites.pivot(index="condition", columns="site", values="moved_sd").loc[rows, columns].to_numpy()
    found = sites.pivot(index="condition", columns="site", values="pattern").loc[rows, columns].to_numpy()
    still = found != "moves"
    wording = Wording(title, "site", "", caption, NOTE if still.any() else None, demo)
    height = 0.35 + ROW * len(rows)
    legend: dict[str, CurveStyle] = {}
    width = style.SINGLE_COLUMN if len(columns) <= NARROW // 2 else max(site_width(len(columns)), 4.8)
    with framed(wording, legend, width, (1, 2), height, width_ratios=[1, 0.025]) as (figure, grid):
        axes, bar = grid[0]
        top = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
        image = draw_matrix(axes, values, "viridis", (0, top))
        axes.set_yticks(range(len(rows)), rows, fontsize=name_size(len(rows)))
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=name_size(len(columns)))
        y, x = np.nonzero(still)
        axes.plot(x, y, linestyle="none", marker="o", markersize=2, color="white", markeredgewidth=0)
        first = [place for place, name in enumerate(rows) if place and name.split()[0] != rows[place - 1].split()[0]]
        for place in first:
            axes.axhline(place - 0.5, color="white", linewidth=1.2)
        add_colour_bar(figure, bar, image, "shift, SD of plain images")
    return figure
