"""Figures from the tables of the analyses: each function takes results and returns a Figure."""

from se_probe.figures.channel_distribution import channel_distribution
from se_probe.figures.class_heatmap import class_heatmap
from se_probe.figures.class_similarity import class_similarity_matrix
from se_probe.figures.decodability import decodability
from se_probe.figures.depth_profile import depth_profile
from se_probe.figures.frame import curves_caption, model_line
from se_probe.figures.health_profile import health_profile
from se_probe.figures.intervention_classes import intervention_classes
from se_probe.figures.intervention_cost import intervention_cost
from se_probe.figures.intervention_savings import intervention_savings
from se_probe.figures.role_of_excitation import role_of_excitation
from se_probe.figures.run_figures import INTERVENTION_FIGURES, RUN_FIGURES, RunFigure
from se_probe.figures.save import save_figure
from se_probe.figures.scale_classes import scale_classes
from se_probe.figures.scale_images import scale_images
from se_probe.figures.scale_response import scale_response
from se_probe.figures.specificity_importance import specificity_importance
from se_probe.figures.within_class import within_class

__all__ = [
    "INTERVENTION_FIGURES",
    "RUN_FIGURES",
    "RunFigure",
    "channel_distribution",
    "class_heatmap",
    "class_similarity_matrix",
    "curves_caption",
    "decodability",
    "depth_profile",
    "health_profile",
    "intervention_classes",
    "intervention_cost",
    "intervention_savings",
    "model_line",
    "role_of_excitation",
    "save_figure",
    "scale_classes",
    "scale_images",
    "scale_response",
    "specificity_importance",
    "within_class",
]
