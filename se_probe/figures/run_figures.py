"""The figures of a run: what the report says of each, and how those of one table of measures are drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from se_probe.figures.effects import effect_agreement, effects_by_site, selectivity_effect
from se_probe.figures.profiles import decodability, depth_profile, health_profile, known_factors, named_channels


@dataclass(frozen=True)
class RunFigure:
    """A figure of a run; the name of its files is its key in `RUN_FIGURES`.

    A figure with a `table` is drawn into every run by its entry here alone.

    Attributes:
        title: its heading in the report.
        note: a sentence on what it shows.
        table: file name of the table of `measure_tables` that it is drawn from; "" where a run draws it otherwise.
        draw: draws it from that table; called with `demo` and `caption`.
        needs: column of the table without a number in which there is nothing to draw; "" where there always is.
    """

    title: str
    note: str
    table: str = ""
    draw: Callable[..., Figure] | None = None
    needs: str = ""

    def drawable(self, table: pd.DataFrame) -> bool:
        """Return whether the table holds what is to be drawn."""
        return len(table) > 0 and (not self.needs or bool(table[self.needs].notna().any()))


RUN_FIGURES = {
    "role_of_excitation": RunFigure(
        "Role of excitation",
        "Mean gate of sampled channels: one panel per site, one line per class, and one for all classes with equal "
        "weights. After Hu et al., Squeeze-and-Excitation Networks.",
    ),
    "within_class": RunFigure(
        "Within-class variation",
        "Mean gate in a band of one standard deviation over the images of a class, for the same sites and channels.",
    ),
    "depth_profile": RunFigure(
        "Depth profile of class specificity",
        "Share of the gates' variance that lies between classes (ω², bias-corrected), above the spreads that "
        "it is a share of, in gate units.",
        table="site_specificity.csv",
        draw=depth_profile,
    ),
    "health_profile": RunFigure(
        "Health profile of the gates",
        "Shares of channels whose gates move over images or hardly do, and of single gates near 1 and 0.",
        table="site_health.csv",
        draw=health_profile,
    ),
    "class_heatmap": RunFigure(
        "Class heat map of mean gates",
        "At the site whose class means lie furthest apart, classes and channels in the order of their clustering.",
    ),
    "class_similarity": RunFigure(
        "Class similarity",
        "Root mean square difference of mean gates between classes at the same site, beside their dendrogram.",
    ),
    "decodability": RunFigure(
        "Decodability of the class from the gates",
        "Accuracy with which a linear classifier tells the chosen classes of held-out images from a site's gates.",
        table="site_decodability.csv",
        draw=decodability,
        needs="accuracy",
    ),
    "named_channels": RunFigure(
        "Channels with a word",
        "Share of channels whose gates open for the classes of one node of WordNet, at a false-discovery rate of 0.05.",
        table="site_words.csv",
        draw=named_channels,
        needs="named_share",
    ),
    "known_factors": RunFigure(
        "What known factors explain",
        "Share of the gates' variance within classes that each known factor of the images explains alone.",
        table="site_factors.csv",
        draw=known_factors,
        needs="share",
    ),
    "channel_distribution": RunFigure(
        "Channel distribution by class",
        "Gates of single images in the channel with the largest share of variance between classes.",
    ),
    "gate_maps": RunFigure(
        "Where gates look",
        "What each position of the feature map adds to the gate logit of channels that move much, in the images that "
        "open and that close them most: exact on the feature grid, drawn over pixels only where a test supports it.",
    ),
}
"""Figures of a recording, in the order in which the report shows them."""

EFFECT_FIGURES = {
    "effect_agreement": RunFigure(
        "First order against replacement",
        "Effects of single channels in single images, from the backward pass and by exact replacement, one panel per "
        "site.",
        table="effect_sample.csv",
        draw=effect_agreement,
    ),
    "effects_by_site": RunFigure(
        "Effects by site",
        "How large the effect of a channel is, how few channels carry half of the effect, and how effect and class "
        "selectivity go together over the channels of a site.",
        table="effect_sites.csv",
        draw=effects_by_site,
    ),
    "selectivity_effect": RunFigure(
        "Selectivity and effect",
        "Root mean square effect of a channel against the share of its gate's variance between classes, one panel per "
        "site. After Morcos et al., On the importance of single directions for generalization.",
        table="effect_channels.csv.gz",
        draw=selectivity_effect,
    ),
}
"""Figures of the effects of channels, of a recording that holds them."""

INTERVENTION_FIGURES = {
    "intervention_cost": RunFigure(
        "Intervention cost",
        "Change of top-1 accuracy and of NLL, or of the user's metric, with 95 % intervals: each site alone, "
        "sites from the last backwards, and whole stages.",
    ),
    "intervention_savings": RunFigure(
        "Intervention savings",
        "Change of top-1 accuracy, or of the user's metric, against the parameters and the multiply–adds of the "
        "gate paths that would no longer be needed.",
    ),
    "intervention_classes": RunFigure(
        "Interventions by class",
        "Rise of the NLL of every class, or its loss by the user's metric, when a site alone is replaced, the "
        "classes that are hurt most at the top.",
    ),
    "specificity_importance": RunFigure(
        "Specificity and importance",
        "Rise of NLL, or loss by the user's metric, when a site alone is replaced against the class specificity of "
        "its gates, one point per site.",
    ),
}
"""Figures of interventions; of several replacements each has its own."""

SCALE_FIGURES = {
    "scale_response": RunFigure(
        "Scale response of the gates",
        "Mean at each scale, and mean absolute change from the smallest scale, with 95 % intervals over images.",
    ),
    "scale_images": RunFigure(
        "Scale by image: attention",
        "Images of the run at each scale, with the attention of the larger kernel and the difference of the kernels' "
        "attention. After Li et al., Selective Kernel Networks.",
    ),
    "scale_classes": RunFigure(
        "Scale by class: attention difference",
        "Mean difference of the kernels' attention for every class at each scale. After Li et al., Selective Kernel "
        "Networks.",
    ),
}
"""Figures of a scale experiment."""

COST_FIGURES = {
    "cost_by_site": RunFigure(
        "Cost of the gates by site", "Parameters of every gate, and its operations for one image."
    ),
    "cost_by_reduction": RunFigure(
        "Cost by reduction ratio", "Parameters of the gates, and what they add to the network, at other ratios r."
    ),
}
"""Figures of what gates cost."""
