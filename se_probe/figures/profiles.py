"""Profiles over the sites of a network: class specificity, health of the gates, decodability of the class."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.analysis.stats.states import STATIC_SD
from se_probe.figures import style
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

INTERVAL = "95 % interval"
SHARE, CLASSES, IMAGES = "share between classes, ω²", "between class means", "between images of a class"
DEPTH_LOOKS = {SHARE: look(0), CLASSES: look(4), IMAGES: look(2, dashed=True)}
ACCURACY, SPREAD = "balanced accuracy of a linear classifier", "spread between class means"
STATES = {
    "dynamic": ("moves", "#56B4E9"),
    "constant": ("still", "#b8b8b8"),
    "open": ("still, near 1", "#E69F00"),
    "closed": ("still, near 0", "#1a1a1a"),
}
"""What the legend calls a state of a channel, and its colour."""
OPEN, CLOSED = "gates near 1", "gates near 0"
SINGLE_GATES = {OPEN: look(4), CLOSED: look(0, dashed=True)}


def hollow_note(table: pd.DataFrame) -> str | None:
    """Return the note on hollow markers, None where every site of the table is live."""
    still = [str(verdict) for verdict in table["verdict"].unique() if verdict != "live"]
    return f"Hollow: most channels hardly move ({' or '.join(still)})." if still else None


def depth_profile(
    specificity: pd.DataFrame,
    *,
    demo: bool,
    least_spread: float = STATIC_SD,
    title: str = "Depth profile of class specificity",
    caption: str | None = None,
) -> Figure:
    """Draw the share of the gates' variance between classes above, and the standard deviations below, over sites.

    The band is the 95 % interval over classes. Sites whose gates are not live have hollow markers.

    Args:
        specificity: table of `site_specificity`: one row per site.
        least_spread: standard deviation, in gate units, below which a gate counts as independent of the image.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """

    def share(axes: Axes, table: pd.DataFrame) -> None:
        plot_band(axes, table["ci_low"], table["ci_high"], DEPTH_LOOKS[SHARE])
        plot_line(axes, table["omega_squared"], DEPTH_LOOKS[SHARE], table["verdict"] != "live")
        if "null_omega_squared" in table:
            plot_null(axes, table["null_omega_squared"])
        axes.set_ylim(min(0.0, float(table["ci_low"].fillna(0.0).min())) - 0.02, 1.02)

    def spread(axes: Axes, table: pd.DataFrame) -> None:
        for words, column in ((IMAGES, "within_class_sd"), (CLASSES, "between_class_sd")):
            plot_line(axes, table[column], DEPTH_LOOKS[words], table["verdict"] != "live")
        plot_level(axes, pd.Series([least_spread] * len(table)), "hardly moves below")
        axes.set_ylim(bottom=0)

    panels = {"share of variance": share, "standard deviation, gate units": spread}
    null = {NULL_NAME: NULL_LOOK} if "null_omega_squared" in specificity else {}
    looks = {SHARE: DEPTH_LOOKS[SHARE], INTERVAL: BAND, **null, **DEPTH_LOOKS}
    wording = Wording(title, "site", "", caption, hollow_note(specificity), demo)
    return draw_by_site(specificity, panels, wording, looks)


def decodability(
    table: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Decodability of the class from the gates",
    caption: str | None = None,
) -> Figure:
    """Draw the accuracy on held-out images with its 95 % interval and chance above, the gates' spread below.

    Sites whose gates are not live have hollow markers.

    Args:
        table: table of `site_decodability`: one row per site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """
    looks = {ACCURACY: look(0), INTERVAL: BAND}
    if "null_accuracy" in table:
        looks[NULL_NAME] = NULL_LOOK
    looks[SPREAD] = look(4)

    def accuracy(axes: Axes, rows: pd.DataFrame) -> None:
        plot_band(axes, rows["ci_low"], rows["ci_high"], looks[ACCURACY])
        plot_line(axes, rows["accuracy"], looks[ACCURACY], rows["verdict"] != "live")
        if "null_accuracy" in rows:
            plot_null(axes, rows["null_accuracy"])
        plot_level(axes, rows["chance"], "chance")
        axes.set_ylim(0, 1.03)

    def spread(axes: Axes, rows: pd.DataFrame) -> None:
        plot_line(axes, rows["between_class_sd"], looks[SPREAD], rows["verdict"] != "live")
        axes.set_ylim(bottom=0)

    classes = int(table["chosen_classes"].iloc[0])
    panels = {f"accuracy among {classes} classes": accuracy, "standard deviation, gate units": spread}
    note = hollow_note(table)
    if note is not None:
        note += " A classifier reads gates that hardly move as well as any others."
    return draw_by_site(table, panels, Wording(title, "site", "", caption, note, demo), looks)


def health_profile(
    health: pd.DataFrame, *, demo: bool, title: str = "Health profile of the gates", caption: str | None = None
) -> Figure:
    """Draw the shares of channels in each state above, and of single gates near 1 and 0 below, over sites.

    A channel moves where its standard deviation over images reaches `stats.states.STATIC_SD`. Single gates are those of
    the images of the chosen classes, with two standard errors; they are missing where gates are unbounded.

    Args:
        health: table of `site_health`: one row per site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading.
    """
    looks = {words: style.area_style(colour) for words, colour in STATES.values()}
    panels = {"channels, share": _states}
    if health["open_share"].notna().any():
        panels["single gates, share"] = _single_gates
        looks |= SINGLE_GATES
    return draw_by_site(health, panels, Wording(title, "site", "", caption, None, demo), looks)


def _states(axes: Axes, table: pd.DataFrame) -> None:
    base, places = np.zeros(len(table)), np.arange(len(table))
    for state, (_, colour) in STATES.items():
        share = table[state].to_numpy()
        axes.bar(places, share, 0.8, base, color=colour, edgecolor="white", linewidth=0.4)
        base = base + share
    axes.set_ylim(0, 1)


def _single_gates(axes: Axes, table: pd.DataFrame) -> None:
    for words, column in ((OPEN, "open_share"), (CLOSED, "closed_share")):
        plot_line(axes, table[column], SINGLE_GATES[words])
        low, high = (table[column] + sign * 2 * table[f"{column}_error"] for sign in (-1, 1))
        axes.vlines(np.arange(len(table)), low, high, color=SINGLE_GATES[words].color, linewidth=0.8)
    axes.set_ylim(-0.02, 1.02)
    axes.axhline(0, color=style.RULE, linewidth=0.5)
