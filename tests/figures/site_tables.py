"""Tables with one row per site and made-up numbers, as the measures hand them to the figures."""

import numpy as np
import pandas as pd

SITES = ["SE_2_1", "SE_2_2", "SE_3_1", "SE_4_1", "SE_5_1"]


def site_table(sites=SITES, verdicts=None) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    size = len(sites)
    states = rng.dirichlet(np.ones(4), size)
    middle = rng.uniform(0.3, 0.7, size)
    return pd.DataFrame(
        {
            "site": sites,
            "verdict": verdicts or ["live"] * size,
            "between_class_sd": rng.uniform(0.02, 0.1, size),
            "within_class_sd": rng.uniform(0.05, 0.2, size),
            "omega_squared": middle,
            "accuracy": middle,
            "ci_low": middle - 0.1,
            "ci_high": middle + 0.1,
            "chance": 0.25,
            "chosen_classes": 4,
            **dict(zip(("dynamic", "open", "closed", "constant"), states.T, strict=True)),
            "open_share": rng.uniform(0, 1, size),
            "closed_share": rng.uniform(0, 1, size),
            "open_share_error": 0.02,
            "closed_share_error": 0.01,
        }
    )


def line_data(axes, colour):
    """Heights of the full line of a colour."""
    (line,) = [line for line in axes.lines if line.get_linestyle() != "None" and line.get_color() == colour]
    return line.get_ydata()


def hollow_places(axes, colour):
    """Where the markers of a colour are not filled."""
    return [
        place
        for line in axes.lines
        if line.get_linestyle() == "None"
        and line.get_markeredgecolor() == colour
        and line.get_markerfacecolor() == "white"
        for place in line.get_xdata()
    ]
