"""Depth profile: class specificity of the gates by site."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.analysis.stats.states import STATIC_SD
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

SHARE, CLASSES, IMAGES = "share between classes, ω²", "between class means", "between images of a class"
LOOKS = {SHARE: look(0), CLASSES: look(4), IMAGES: look(2, dashed=True)}
INTERVAL = "95 % interval"
HOLLOW_NOTE = "Hollow: most channels hardly move ({0})."


def depth_profile(
    specificity: pd.DataFrame,
    *,
    demo: bool,
    least_spread: float = STATIC_SD,
    title: str = "Depth profile of class specificity",
    caption: str | None = None,
) -> Figure:
    """Draw the share of the gates' variance between classes above, and the standard deviations below, over sites.

    `specificity` is the table of `site_specificity`; the band is its 95 % interval over classes. `least_spread` is
    drawn as the spread below which a gate counts as independent of the image. Sites whose gates are not live have
    hollow markers.

    Args:
        specificity: table of `site_specificity`: one row per site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        least_spread: standard deviation below which a gate counts as static, in gate units.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    still = [str(verdict) for verdict in specificity["verdict"].unique() if verdict != "live"]

    def share(axes: Axes, table: pd.DataFrame) -> None:
        plot_band(axes, table["ci_low"], table["ci_high"], LOOKS[SHARE])
        plot_line(axes, table["omega_squared"], LOOKS[SHARE], table["verdict"] != "live")
        if "null_omega_squared" in table:
            plot_null(axes, table["null_omega_squared"])
        axes.set_ylim(min(0.0, float(table["ci_low"].fillna(0.0).min())) - 0.02, 1.02)

    def spread(axes: Axes, table: pd.DataFrame) -> None:
        for words, column in ((IMAGES, "within_class_sd"), (CLASSES, "between_class_sd")):
            plot_line(axes, table[column], LOOKS[words], table["verdict"] != "live")
        plot_level(axes, pd.Series([least_spread] * len(table)), "hardly moves below")
        axes.set_ylim(bottom=0)

    panels = {"share of variance": share, "standard deviation, gate units": spread}
    note = HOLLOW_NOTE.format(" or ".join(still)) if still else None
    null = {NULL_NAME: NULL_LOOK} if "null_omega_squared" in specificity else {}
    looks = {SHARE: LOOKS[SHARE], INTERVAL: BAND, **null, **LOOKS}
    return draw_by_site(specificity, panels, Wording(title, "site", "", caption, note, demo), looks)
