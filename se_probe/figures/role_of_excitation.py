"""The figure "role of excitation": mean gates of a site by class."""

import pandas as pd
from matplotlib.figure import Figure

from se_probe.figures.frame import Wording
from se_probe.figures.panels import draw_panels, plot_mean, split_into_panels, x_label


def role_of_excitation(
    curves: pd.DataFrame, *, demo: bool, title: str = "Role of excitation", caption: str | None = None
) -> Figure:
    """Draw the mean gate over channels: a panel per site, a line per class and one for all classes.

    `curves` is the table of `excitation_curves`. The y axis is 0 to 1 in every panel of a bounded gate, so that panels
    compare; an unbounded gate has its own scale. Competing branches have a panel each; of two branches that add up to
    one only the second is drawn. With more than six classes or 100 channels, lines cannot be told apart; a panel is
    then a strip of colours per class. `demo` marks the figure as made from demo stimuli.

    Args:
        curves: table of `excitation_curves`: a mean gate for each site, class and channel.
        demo: whether the network or the images are the demo's; the figure is then marked.
        title: heading of the figure.
        caption: line below the heading: network, images, estimator.

    Source: Hu et al., Squeeze-and-Excitation Networks, "Role of Excitation".
    """
    panels, note = split_into_panels(curves)
    wording = Wording(title, x_label(curves), "mean gate", caption, note, demo)
    return draw_panels(panels, wording, plot_mean)
