"""Figures from the tables of the analyses: each function takes results and returns a Figure.

Figure functions take `demo` (whether network or images are the demo's; the figure is then marked), a `title` (except
`gate_maps`), and a `caption` below the title.
"""

from se_probe.figures.classes import channel_distribution, class_heatmap, class_similarity_matrix
from se_probe.figures.effects import effect_agreement, effects_by_site, selectivity_effect
from se_probe.figures.excitation import role_of_excitation, within_class
from se_probe.figures.frame import curves_caption, model_line, save_figure
from se_probe.figures.importance import intervention_savings, specificity_importance
from se_probe.figures.interventions import intervention_classes, intervention_cost
from se_probe.figures.maps import gate_maps
from se_probe.figures.profiles import decodability, depth_profile, health_profile
from se_probe.figures.run_figures import (
    COST_FIGURES,
    EFFECT_FIGURES,
    INTERVENTION_FIGURES,
    RUN_FIGURES,
    SCALE_FIGURES,
    RunFigure,
)
from se_probe.figures.scale import scale_classes, scale_images, scale_response

__all__ = [
    "COST_FIGURES",
    "EFFECT_FIGURES",
    "INTERVENTION_FIGURES",
    "RUN_FIGURES",
    "SCALE_FIGURES",
    "RunFigure",
    "channel_distribution",
    "class_heatmap",
    "class_similarity_matrix",
    "curves_caption",
    "decodability",
    "depth_profile",
    "effect_agreement",
    "effects_by_site",
    "gate_maps",
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
    "selectivity_effect",
    "specificity_importance",
    "within_class",
]
