"""The within-class figure: how the gates of a site differ between images of the same class."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.figures.frame import Wording
from se_probe.figures.panels import draw_panels, plot_mean, split_into_panels, x_label
from se_probe.figures.style import CurveStyle


def within_class(
    curves: pd.DataFrame,
    *,
    demo: bool,
    order: Sequence[str] = (),
    title: str = "Within classes",
    caption: str | None = None,
) -> Figure:
    """Mean gate over sampled channels, in a band of one standard deviation over images to either side.

    `curves` is the table of `within_class_curves`; panels and scales are those of `role_of_excitation`, and
    a band that leaves the axis 0 to 1 is cut there. A class with one image has a line and no band.
    With the chosen classes as `order`, a class looks as it does in `role_of_excitation`.

    Source: Hu et al., Squeeze-and-Excitation Networks, the within-class figure of the appendix.
    """
    panels, note = split_into_panels(curves)
    wording = Wording(title, x_label(curves), "gate: mean ± s.d.", caption, note, demo)
    return draw_panels(panels, wording, _plot_mean_and_band, order)


def _plot_mean_and_band(axes: Axes, rows: pd.DataFrame, look: CurveStyle) -> None:
    mean, std = rows["mean"].to_numpy(), rows["std"].to_numpy()
    if rows["std"].notna().any():
        axes.fill_between(
            rows["position"].to_numpy(), mean - std, mean + std, color=look.color, alpha=0.28, linewidth=0
        )
    plot_mean(axes, rows, look)
