"""What channels stand for: the share of them that has a word, and what known factors of the images explain."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.figures import style
from se_probe.figures.by_site import (
    NULL_LOOK,
    NULL_NAME,
    draw_by_site,
    look,
    name_sites,
    plot_line,
    plot_null,
    site_width,
)
from se_probe.figures.classes import add_colour_bar, draw_matrix, name_rows
from se_probe.figures.frame import Wording, framed
from se_probe.figures.profiles import hollow_note

NAMED = "channels with a word"
LEAST_WRITTEN = 0.05
"""Shares from here on are written into their cells."""
LIGHT = 0.6
"""Of the largest share, from which a cell is light enough for dark digits."""


def named_channels(
    words: pd.DataFrame, *, demo: bool, title: str = "Channels with a word", caption: str | None = None
) -> Figure:
    """Draw the share of channels whose gates open for the classes of one WordNet node, over sites.

    Sites whose gates are not live have hollow markers.

    Args:
        words: first table of `word_tables`: one row per site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """
    looks = {NAMED: look(0)}
    if "null_named_share" in words:
        looks[NULL_NAME] = NULL_LOOK

    def share(axes: Axes, table: pd.DataFrame) -> None:
        plot_line(axes, table["named_share"], looks[NAMED], table["verdict"] != "live")
        if "null_named_share" in table:
            plot_null(axes, table["null_named_share"])
        axes.set_ylim(-0.02, 1.02)

    wording = Wording(title, "site", "", caption, hollow_note(words), demo)
    return draw_by_site(words, {"share, false-discovery rate 0.05": share}, wording, looks)


def known_factors(
    factors: pd.DataFrame, *, demo: bool, title: str = "What known factors explain", caption: str | None = None
) -> Figure:
    """Draw the share of the gates' variance within classes that each factor explains, a row a factor, over sites.

    Args:
        factors: first table of `factor_tables`: one row per site and factor.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """
    sites, names = (list(dict.fromkeys(factors[column])) for column in ("site", "factor"))
    values = factors.pivot(index="factor", columns="site", values="share").loc[names, sites].to_numpy()
    most = max(float(np.nanmax(values, initial=0.0)), LEAST_WRITTEN)
    wording = Wording(title, "site", "", caption, "Adjusted R² within classes; cells below 0.05 are left blank.", demo)
    with framed(wording, {}, site_width(len(sites)), (1, 2), 0.16 * len(names), width_ratios=(30, 1)) as (
        figure,
        grid,
    ):
        axes, bar = grid[0]
        image = draw_matrix(axes, np.clip(values, 0.0, None), "viridis", (0.0, most))
        name_rows(axes, names)
        name_sites(axes, sites)
        axes.set_xlim(-0.5, len(sites) - 0.5)
        for row, column in zip(*np.nonzero(values >= LEAST_WRITTEN), strict=True):
            share = float(values[row, column])
            colour = style.TEXT if share > LIGHT * most else "white"
            axes.text(column, row, f"{share:.2f}"[1:], ha="center", va="center", fontsize=5, color=colour)
        add_colour_bar(figure, bar, image, "share of variance")
    return figure
