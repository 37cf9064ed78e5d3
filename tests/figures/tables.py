"""Curves with made-up numbers, as the analyses hand them to the figures, and how to read a figure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

PAPER_PANELS = ["SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3"]
FOUR = ["goldfish", "pug", "airliner", "cliff"]


def curves(
    sites: Sequence[str] = ("SE_5_3",),
    classes: Sequence[str] = FOUR,
    *,
    points: int = 10,
    site_channels: int = 64,
    branches: int = 1,
    activation: str = "sigmoid",
    reference: str | None = "all classes (10)",
    count: int = 50,
    scale: float = 1.0,
) -> pd.DataFrame:
    """One row per site, branch, channel and class; means add up to `scale` over branches where there are any."""
    rng = np.random.default_rng(5)
    channel = np.sort(rng.permutation(site_channels)[:points])
    tables = []
    for site in sites:
        for name in [*classes, *([reference] if reference else [])]:
            weights = rng.uniform(0.1, 0.9, (branches, points))
            means = weights if branches == 1 else weights / weights.sum(axis=0)
            for branch in range(branches):
                tables.append(
                    pd.DataFrame(
                        {
                            "site": site,
                            "stage": int(site.split("_")[1]),
                            "block": int(site.split("_")[2]),
                            "activation": activation,
                            "site_channels": site_channels,
                            "branch": branch,
                            "channel": channel,
                            "position": np.arange(points),
                            "class": name,
                            "role": "reference" if name == reference else "class",
                            "count": count,
                            "mean": means[branch] * scale,
                            "std": rng.uniform(0.01, 0.05, points) if count > 1 else np.nan,
                            "standard_error": 0.001 if count > 1 else np.nan,
                        }
                    )
                )
    return pd.concat(tables, ignore_index=True)


def texts(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.texts]


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]
