"""The within-class figure: variation of the gates between images of the same class."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from se_probe.figures.frame import Wording
from se_probe.figures.panels import draw_panels, in_unit_range, plot_mean, split_into_panels, x_label
from se_probe.figures.style import CurveStyle


def within_class(
    curves: pd.DataFrame,
    *,
    demo: bool,
    order: Sequence[str] = (),
    title: str = "Within-class variation",
    caption: str | None = None,
) -> Figure:
    """Draw the mean gate over channels, in a band of one standard deviation over images to either side.

    `curves` is the table of `within_class_curves`; panels and scales are those of `role_of_excitation`. Where gates are
    bounded, the band ends at 0 and 1, and the note says at how many points it would go beyond. A class with one image
    has a line and no band. With the chosen classes as `order`, a class has the same style as in `role_of_excitation`.

    Args:
        curves: table of `within_class_curves`: mean and standard deviation for each site, class and channel.
        demo: whether the network or the images are the demo's; the figure is then marked.
        order: the chosen classes, which give each class its style.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.

    Source: Hu et al., Squeeze-and-Excitation Networks, the within-class figure of the appendix.
    """
    panels, note = split_into_panels(curves)
    shown = pd.concat([panel.rows for panel in panels if panel.unit] or [curves.iloc[:0]])
    beyond = int(((shown["mean"] - shown["std"] < 0) | (shown["mean"] + shown["std"] > 1)).sum())
    cut = f"Bands end at 0 and 1; at {beyond} of {len(shown)} points mean ± s.d. goes beyond." if beyond else None
    notes = " ".join(text for text in (note, cut) if text) or None
    wording = Wording(title, x_label(curves), "gate: mean ± s.d.", caption, notes, demo)
    return draw_panels(panels, wording, _plot_mean_and_band, order, strips="std")


def _plot_mean_and_band(axes: Axes, rows: pd.DataFrame, look: CurveStyle) -> None:
    mean, std = rows["mean"].to_numpy(), rows["std"].to_numpy()
    low, high = mean - std, mean + std
    if in_unit_range(rows):
        low, high = low.clip(0, 1), high.clip(0, 1)
    if rows["std"].notna().any():
        axes.fill_between(rows["position"].to_numpy(), low, high, color=look.color, alpha=0.28, linewidth=0)
    plot_mean(axes, rows, look)
