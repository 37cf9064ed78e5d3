"""Class statistics, excitation curves, measures and findings of a recording, as tables."""

from se_probe.analysis.ablation import (
    ablation_classes_table,
    ablation_sites_table,
    ablation_tables,
    site_importance,
    with_savings,
)
from se_probe.analysis.covariates import image_covariates, site_covariates
from se_probe.analysis.curves import (
    class_statistics,
    class_table,
    default_within,
    excitation_curves,
    recording_tables,
    reference_name,
    reference_statistics,
    select_classes,
    site_table,
    within_class_curves,
)
from se_probe.analysis.findings import Finding, findings
from se_probe.analysis.health import channel_health, site_health
from se_probe.analysis.measures import beside_null, measure_tables, signal_tables
from se_probe.analysis.protocols import GateRecording, RecordingLike, SiteLike
from se_probe.analysis.sampling import default_panels, sample_channels, select_sites
from se_probe.analysis.similarity import class_similarity, cluster_classes, site_similarity
from se_probe.analysis.specificity import channel_specificity, site_decodability, site_specificity

__all__ = [
    "Finding",
    "GateRecording",
    "RecordingLike",
    "SiteLike",
    "ablation_classes_table",
    "ablation_sites_table",
    "ablation_tables",
    "beside_null",
    "channel_health",
    "channel_specificity",
    "class_similarity",
    "class_statistics",
    "class_table",
    "cluster_classes",
    "default_panels",
    "default_within",
    "excitation_curves",
    "findings",
    "image_covariates",
    "measure_tables",
    "recording_tables",
    "reference_name",
    "reference_statistics",
    "sample_channels",
    "select_classes",
    "select_sites",
    "signal_tables",
    "site_covariates",
    "site_decodability",
    "site_health",
    "site_importance",
    "site_similarity",
    "site_specificity",
    "site_table",
    "with_savings",
    "within_class_curves",
]
