"""Profiles over the sites of a network: class specificity, health, decodability, and what channels stand for."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from se_probe.analysis.stats.states import STATIC_SD
from se_probe.figures import style
from se_probe.figures.by_site import (
    BAND,
    NULL_LOOK,
    NULL_NAME,
    framed_by_site,
    look,
    name_sites,
    plot_band,
    plot_level,
    plot_line,
    plot_null,
    plot_stacked,
    site_width,
)
from se_probe.figures.classes import add_colour_bar, draw_matrix, name_rows
from se_probe.figures.frame import Wording, framed

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
NAMED = "channels with a word"
LEAST_WRITTEN = 0.05
"""Shares from here on are written into their cells."""
LIGHT = 0.6
"""Share of the largest value above which a cell is light enough for dark digits."""


def hollow_note(table: pd.DataFrame) -> str:
    """Return the note on hollow markers, "" where every site of the table is live."""
    still = [str(verdict) for verdict in table["verdict"].unique() if verdict != "live"]
    return f"Hollow: most channels hardly move ({' or '.join(still)})." if still else ""


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
    """
    null = {NULL_NAME: NULL_LOOK} if "null_omega_squared" in specificity else {}
    looks = {SHARE: DEPTH_LOOKS[SHARE], INTERVAL: BAND, **null, **DEPTH_LOOKS}
    titles = ["share of variance", "standard deviation, gate units"]
    wording = Wording(title, demo, caption, "site", note=hollow_note(specificity))
    hollow = specificity["verdict"] != "live"
    with framed_by_site(specificity["site"], titles, wording, looks) as (figure, (share, spread)):
        plot_band(share, specificity["ci_low"], specificity["ci_high"], looks[SHARE])
        plot_line(share, specificity["omega_squared"], looks[SHARE], hollow)
        plot_null(share, specificity, "omega_squared")
        share.set_ylim(min(0.0, float(specificity["ci_low"].fillna(0.0).min())) - 0.02, 1.02)
        plot_line(spread, specificity["within_class_sd"], looks[IMAGES], hollow)
        plot_line(spread, specificity["between_class_sd"], looks[CLASSES], hollow)
        plot_level(spread, pd.Series([least_spread] * len(specificity)), "hardly moves below")
        spread.set_ylim(bottom=0)
    return figure


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
    """
    null = {NULL_NAME: NULL_LOOK} if "null_accuracy" in table else {}
    looks = {ACCURACY: look(0), INTERVAL: BAND, **null, SPREAD: look(4)}
    titles = [f"accuracy among {table['chosen_classes'].iloc[0]} classes", "standard deviation, gate units"]
    if note := hollow_note(table):
        note += " A classifier reads gates that hardly move as well as any others."
    hollow = table["verdict"] != "live"
    wording = Wording(title, demo, caption, "site", note=note)
    with framed_by_site(table["site"], titles, wording, looks) as (figure, (accuracy, spread)):
        plot_band(accuracy, table["ci_low"], table["ci_high"], looks[ACCURACY])
        plot_line(accuracy, table["accuracy"], looks[ACCURACY], hollow)
        plot_null(accuracy, table, "accuracy")
        plot_level(accuracy, table["chance"], "chance")
        accuracy.set_ylim(0, 1.03)
        plot_line(spread, table["between_class_sd"], looks[SPREAD], hollow)
        spread.set_ylim(bottom=0)
    return figure


def health_profile(
    health: pd.DataFrame, *, demo: bool, title: str = "Health profile of the gates", caption: str | None = None
) -> Figure:
    """Draw the shares of channels in each state above, and of single gates near 1 and 0 below, over sites.

    A channel moves where its standard deviation over images reaches `stats.states.STATIC_SD`. Single gates are those of
    the images of the chosen classes, with two standard errors; they are missing where gates are unbounded.

    Args:
        health: table of `site_health`: one row per site.
    """
    looks = {words: style.area_style(colour) for words, colour in STATES.values()}
    titles = ["channels, share"]
    if health["open_share"].notna().any():
        titles.append("single gates, share")
        looks |= SINGLE_GATES
    with framed_by_site(health["site"], titles, Wording(title, demo, caption, "site"), looks) as (figure, panels):
        states, *single_gates = panels
        plot_stacked(states, health, STATES)
        states.set_ylim(0, 1)
        for axes in single_gates:
            for words, column in ((OPEN, "open_share"), (CLOSED, "closed_share")):
                plot_line(axes, health[column], SINGLE_GATES[words])
                low, high = (health[column] + sign * 2 * health[f"{column}_error"] for sign in (-1, 1))
                axes.vlines(np.arange(len(health)), low, high, color=SINGLE_GATES[words].color, linewidth=0.8)
            axes.set_ylim(-0.02, 1.02)
            axes.axhline(0, color=style.RULE, linewidth=0.5)
    return figure


def named_channels(
    words: pd.DataFrame, *, demo: bool, title: str = "Channels with a word", caption: str | None = None
) -> Figure:
    """Draw the share of channels whose gates open for the classes of one WordNet node, over sites.

    The table is the first of `word_tables`. Sites whose gates are not live have hollow markers.
    """
    looks = {NAMED: look(0)} | ({NULL_NAME: NULL_LOOK} if "null_named_share" in words else {})
    wording = Wording(title, demo, caption, "site", note=hollow_note(words))
    with framed_by_site(words["site"], ["share, false-discovery rate 0.05"], wording, looks) as (figure, (axes,)):
        plot_line(axes, words["named_share"], looks[NAMED], words["verdict"] != "live")
        plot_null(axes, words, "named_share")
        axes.set_ylim(-0.02, 1.02)
    return figure


def known_factors(
    factors: pd.DataFrame, *, demo: bool, title: str = "What known factors explain", caption: str | None = None
) -> Figure:
    """Draw the share of the gates' variance within classes that each factor explains, one row per factor, over sites.

    The table is the first of `factor_tables`.
    """
    sites, names = (list(dict.fromkeys(factors[column])) for column in ("site", "factor"))
    values = factors.pivot(index="factor", columns="site", values="share").loc[names, sites].to_numpy()
    most = max(float(np.nanmax(values, initial=0.0)), LEAST_WRITTEN)
    wording = Wording(title, demo, caption, "site", note="Adjusted R² within classes; cells below 0.05 are left blank.")
    size = site_width(len(sites)), (1, 2), 0.16 * len(names)
    with framed(wording, {}, *size, width_ratios=(30, 1)) as (figure, grid):
        axes, bar = grid[0]
        image = draw_matrix(axes, np.clip(values, 0.0, None), "viridis", (0.0, most))
        name_rows(axes, names)
        name_sites(axes, sites)
        axes.set_xlim(-0.5, len(sites) - 0.5)
        for row, column in zip(*np.nonzero(values >= LEAST_WRITTEN), strict=True):
            share = float(values[row, column])
            colour = style.TEXT if share > LIGHT * most else "white"
            axes.text(column, row, f"{share:.2f}"[1:], ha="center", va="center", fontsize=5, color=colour)
        add_colour_bar(figure, image, "share of variance", cax=bar)
    return figure
