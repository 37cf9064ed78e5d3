"""Decodability: accuracy of a linear classifier from the gates to the class, by site."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.figures.by_site import (
    BAND,
    NULL_LOOK,
    NULL_NAME,
    draw_by_site,
    look,
    plot_band,
    plot_level,
    plot_line,
    plot_null,
)
from se_probe.figures.frame import Wording

ACCURACY, CLASSES = "balanced accuracy of a linear classifier", "spread between class means"
LOOKS = {ACCURACY: look(0), CLASSES: look(4)}
NOTE = "Hollow: most channels hardly move ({0}). A classifier reads gates that hardly move as well as any others."


def decodability(
    table: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Decodability of the class from the gates",
    caption: str | None = None,
) -> Figure:
    """Draw the accuracy on held-out images with its 95 % interval and chance above, the gates' spread below.

    `table` is that of `site_decodability`. Sites whose gates are not live have hollow markers.

    Args:
        table: table of `site_decodability`: one row per site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    still = [str(verdict) for verdict in table["verdict"].unique() if verdict != "live"]
    classes = int(table["chosen_classes"].iloc[0])

    def accuracy(axes: Axes, rows: pd.DataFrame) -> None:
        plot_band(axes, rows["ci_low"], rows["ci_high"], LOOKS[ACCURACY])
        plot_line(axes, rows["accuracy"], LOOKS[ACCURACY], rows["verdict"] != "live")
        if "null_accuracy" in rows:
            plot_null(axes, rows["null_accuracy"])
        plot_level(axes, rows["chance"], "chance")
        axes.set_ylim(0, 1.03)

    def spread(axes: Axes, rows: pd.DataFrame) -> None:
        plot_line(axes, rows["between_class_sd"], LOOKS[CLASSES], rows["verdict"] != "live")
        axes.set_ylim(bottom=0)

    panels = {f"accuracy among {classes} classes": accuracy, "standard deviation, gate units": spread}
    note = NOTE.format(" or ".join(still)) if still else None
    null = {NULL_NAME: NULL_LOOK} if "null_accuracy" in table else {}
    looks = {ACCURACY: LOOKS[ACCURACY], "95 % interval": BAND, **null, CLASSES: LOOKS[CLASSES]}
    return draw_by_site(table, panels, Wording(title, "site", "", caption, note, demo), looks)
