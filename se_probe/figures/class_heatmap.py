"""Class heat map: mean gates of a site by class and channel, clustered."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.figures import style
from se_probe.figures.frame import Wording, framed
from se_probe.figures.matrix import add_colour_bar, draw_matrix, name_rows

WIDTHS = (50, 1)
MOST_COLUMNS = 50


def class_heatmap(
    means: pd.DataFrame, *, demo: bool, title: str = "Class heat map of mean gates", caption: str | None = None
) -> Figure:
    """Draw the mean gate of every class (row) in every channel (column), both in the order of their clustering.

    `means` is the table of `clustered_class_means`. Colours run from 0 to 1 where gates are bounded. Below the columns
    stand the indices of the channels, of every nth column where there is no room for all.

    Args:
        means: table of `clustered_class_means`: a mean gate for each class and channel, in display order.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    site, channels = str(means["site"].iloc[0]), int(means["site_channels"].iloc[0])
    values = means.pivot(index="row", columns="column", values="mean").to_numpy()
    names = means.drop_duplicates("row").sort_values("row")["class"].tolist()
    bounded = means["activation"].iloc[0] != "unbounded" and bool(means["mean"].between(0, 1).all())
    shown = means["channel"].nunique()
    by_branch = means["branch"].nunique() > 1
    columns = "channel (branch:channel), clustered" if by_branch else "channel, clustered"
    wording = Wording(title, columns, "", caption, None, demo)
    height = 1 + len(names) // 24
    with framed(wording, {}, style.DOUBLE_COLUMN, (1, 2), height, width_ratios=WIDTHS) as (figure, grid):
        axes, bar = grid[0]
        image = draw_matrix(axes, values, "viridis", (0.0, 1.0) if bounded else None)
        name_rows(axes, names)
        _name_columns(axes, means, by_branch=by_branch)
        share = f"{shown} of {channels} channels" if shown < channels else f"all {channels} channels"
        axes.set_title(f"{site} · {share}", loc="left", fontweight="bold", pad=4)
        add_colour_bar(figure, bar, image, "mean gate")
    return figure


def _name_columns(axes: Axes, means: pd.DataFrame, *, by_branch: bool) -> None:
    columns = means.drop_duplicates("column").sort_values("column")
    names = [
        f"{branch}:{channel}" if by_branch else str(channel)
        for branch, channel in zip(columns["branch"], columns["channel"], strict=True)
    ]
    every = -(-len(names) // MOST_COLUMNS)
    axes.set_xticks(range(0, len(names), every), names[::every], rotation=90, fontsize=6)
