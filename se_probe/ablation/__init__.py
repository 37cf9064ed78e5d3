"""Interventions over labelled images: which gates are replaced by what, and what that does to predictions."""

from se_probe.ablation.measure import measure
from se_probe.ablation.planning import SiteGroup, class_mean_gates, mean_gates, plan_interventions
from se_probe.ablation.results import Ablation, open_ablation

__all__ = [
    "Ablation",
    "SiteGroup",
    "class_mean_gates",
    "mean_gates",
    "measure",
    "open_ablation",
    "plan_interventions",
]
