"""From a recording to class statistics, excitation curves and tables."""

from se_probe.analysis.classes import (
    class_statistics,
    reference_name,
    reference_statistics,
    select_classes,
)
from se_probe.analysis.curves import default_within, excitation_curves, within_class_curves
from se_probe.analysis.protocols import RecordingLike, SiteLike
from se_probe.analysis.sampling import default_panels, sample_channels, select_sites
from se_probe.analysis.tables import class_table, site_table, write_tables

__all__ = [
    "RecordingLike",
    "SiteLike",
    "class_statistics",
    "class_table",
    "default_panels",
    "default_within",
    "excitation_curves",
    "reference_name",
    "reference_statistics",
    "sample_channels",
    "select_classes",
    "select_sites",
    "site_table",
    "within_class_curves",
    "write_tables",
]
