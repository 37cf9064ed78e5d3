"""Health profile: states of the channels and saturation of the gates, by site."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.figures import style
from se_probe.figures.by_site import draw_by_site, look, plot_line
from se_probe.figures.frame import Wording

STATES = ("dynamic", "constant", "open", "closed")
MEANINGS = {"dynamic": "moves", "constant": "still", "open": "still, near 1", "closed": "still, near 0"}
FILLS = {"dynamic": "#56B4E9", "constant": "#b8b8b8", "open": "#E69F00", "closed": "#1a1a1a"}
OPEN, CLOSED = "gates near 1", "gates near 0"
LINES = {OPEN: look(4), CLOSED: look(0, dashed=True)}


def health_profile(
    health: pd.DataFrame, *, demo: bool, title: str = "Health profile of the gates", caption: str | None = None
) -> Figure:
    """Draw the shares of channels in each state above, and of single gates near 1 and 0 below, over sites.

    `health` is the table of `site_health`. A channel moves where its standard deviation over images reaches
    `stats.states.STATIC_SD`. Single gates are those of the images of the chosen classes, with two standard errors;
    they are missing where gates are unbounded.

    Args:
        health: table of `site_health`: one row per site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.
    """
    swatches = {MEANINGS[state]: style.area_style(FILLS[state]) for state in STATES}
    lines = LINES if health["open_share"].notna().any() else {}
    panels = {"channels, share": _states, "single gates, share": _saturation}
    shown = {key: panels[key] for key in list(panels)[: 1 + bool(lines)]}
    return draw_by_site(health, shown, Wording(title, "site", "", caption, None, demo), swatches | lines)


def _states(axes: Axes, table: pd.DataFrame) -> None:
    base, places = np.zeros(len(table)), np.arange(len(table))
    for state in STATES:
        share = table[state].to_numpy()
        axes.bar(places, share, 0.8, base, color=FILLS[state], edgecolor="white", linewidth=0.4)
        base = base + share
    axes.set_ylim(0, 1)


def _saturation(axes: Axes, table: pd.DataFrame) -> None:
    for words, column in ((OPEN, "open_share"), (CLOSED, "closed_share")):
        plot_line(axes, table[column], LINES[words])
        axes.errorbar(
            np.arange(len(table)),
            table[column],
            2 * table[f"{column}_error"],
            color=LINES[words].color,
            linestyle="none",
            linewidth=0.8,
        )
    axes.set_ylim(-0.02, 1.02)
    axes.axhline(0, color=style.RULE, linewidth=0.5)
