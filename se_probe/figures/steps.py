"""Gates over steps: spread, channels that move, and class specificity of every site at every step."""

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from se_probe.figures import style
from se_probe.figures.classes import draw_matrix, name_size
from se_probe.figures.frame import Wording, framed

PANELS = {"sd": "SD over images", "dynamic": "channels that move", "specificity": "specificity ω²"}
NOTE = "Circle: the first step at which a site's gates hardly depend on the image."
SMALLEST = 1e-4
ROW = 0.09
"""Height of a row, in panels."""


def steps_figure(
    sites: pd.DataFrame,
    events: pd.DataFrame,
    *,
    demo: bool,
    title: str = "Gates over steps",
    caption: str | None = None,
) -> Figure:
    """Draw a matrix of sites by steps for each of the spread, the share of channels that move, and ω².

    Args:
        sites: table of `step_sites`: a row for each step and site.
        events: table of `step_events`: a row for each site.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images.
    """
    labels, names = list(sites["label"].unique()), list(sites["site"].unique())
    marked = events[events["first_label"].notna()]
    wording = Wording(title, "step", "", caption, NOTE if len(marked) else None, demo)
    height = 0.5 + ROW * len(names)
    with framed(wording, {}, style.DOUBLE_COLUMN, (1, len(PANELS)), height, sharey=True) as (figure, grid):
        for axes, (column, words) in zip(grid[0], PANELS.items(), strict=True):
            cells = sites.pivot(index="site", columns="label", values=column).loc[names, labels]
            values = cells.to_numpy(dtype=np.float64)
            image = draw_matrix(axes, np.maximum(values, SMALLEST) if column == "sd" else values, "viridis", (0, 1))
            if column == "sd":
                image.set_norm(LogNorm(SMALLEST, max(float(np.nanmax(values)), 10 * SMALLEST)))
            axes.set_title(words, loc="left", fontweight="bold", pad=4)
            every = -(-len(labels) // 12)
            axes.set_xticks(range(0, len(labels), every), labels[::every], rotation=90, fontsize=name_size(len(labels)))
            x = [labels.index(label) for label in marked["first_label"]]
            y = [names.index(site) for site in marked["site"]]
            axes.plot(x, y, linestyle="none", marker="o", markersize=4, markerfacecolor="none", color="white")
            bar = figure.colorbar(image, ax=[axes], fraction=0.05, pad=0.02)
            bar.outline.set_visible(False)
            bar.ax.grid(False)
        grid[0, 0].set_yticks(range(len(names)), names, fontsize=name_size(len(names)))
    return figure
