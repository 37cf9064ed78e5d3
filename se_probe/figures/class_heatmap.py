"""The heat map of a site: mean gates of classes by channel, like beside like."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from se_probe.figures import style
from se_probe.figures.frame import Wording, add_frame
from se_probe.figures.matrix import add_colour_bar, draw_matrix, name_rows
from se_probe.figures.notebook_figure import NotebookFigure
from se_probe.figures.settle import freeze_layout

WIDTHS = (50, 1)


def class_heatmap(
    means: pd.DataFrame, *, demo: bool, title: str = "Mean gates by class and channel", caption: str | None = None
) -> Figure:
    """Mean gate of every class (row) in every channel (column), both in the order of their clustering.

    `means` is the table of `clustered_class_means`. Colours run from 0 to 1 where gates are bounded.
    """
    site, channels = str(means["site"].iloc[0]), int(means["site_channels"].iloc[0])
    values = means.pivot(index="row", columns="column", values="mean").to_numpy()
    names = means.drop_duplicates("row").sort_values("row")["class"].tolist()
    bounded = means["activation"].iloc[0] != "unbounded" and bool(means["mean"].between(0, 1).all())
    shown = means["channel"].nunique()
    with style.house_style():
        figure = NotebookFigure(figsize=(style.DOUBLE_COLUMN, 1))
        axes, bar = figure.subplots(1, 2, width_ratios=WIDTHS)
        image = draw_matrix(axes, values, "viridis", (0.0, 1.0) if bounded else None)
        name_rows(axes, names)
        axes.xaxis.set_major_locator(NullLocator())
        share = f"{shown} of {channels} channels" if shown < channels else f"all {channels} channels"
        axes.set_title(f"{site} · {share}", loc="left", fontweight="bold", pad=4)
        add_colour_bar(figure, bar, image, "mean gate")
        columns = "channels of every branch, clustered" if means["branch"].nunique() > 1 else "channels, clustered"
        wording = Wording(title, columns, "", caption, None, demo)
        add_frame(figure, wording, {}, 1 + len(names) // 24)
        freeze_layout(figure)
    return figure
