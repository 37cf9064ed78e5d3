"""The measures of a run as a report shows them: read from its tables where they are there, else computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from se_probe.analysis.decodability import site_decodability
from se_probe.analysis.health import site_health
from se_probe.analysis.specificity import channel_specificity, site_specificity
from se_probe.recording import Recording

_MEASURES = {
    "site_specificity.csv": site_specificity,
    "site_health.csv": site_health,
    "site_decodability.csv": site_decodability,
    "channel_specificity.csv.gz": channel_specificity,
}
_SPECIFICITY = (
    "verdict",
    "between_class_sd",
    "within_class_sd",
    "omega_squared",
    "omega_interval",
    "significant_share",
)
_HEALTH = ("mean_gate", "dynamic", "open", "closed", "entropy", "effective_rank")
_DECODABILITY = ("accuracy", "chance")


def run_measures(recording: Recording, tables: Path) -> dict[str, pd.DataFrame]:
    """Return the tables that a report needs by their file names, computing those that the folder lacks.

    A table of an older version, with other names of columns, is computed, too.

    Raises:
        SeProbeError: the recording has no image of any chosen class.
    """
    stored = {name: pd.read_csv(tables / name) for name in _MEASURES if (tables / name).is_file()}
    return {
        name: stored[name] if name in stored and "between_class_sd" in stored[name] else measure(recording)
        for name, measure in _MEASURES.items()
    }


def site_rows(recording: Recording, measures: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row a site, in network order: what it is, and its measures side by side."""
    facts = pd.DataFrame([site.to_dict() for site in recording.sites]).rename(columns={"name": "site"})
    facts = facts[["site", "module", "family", "channels", "branches", "activation", "reduction"]]
    specificity = measures["site_specificity.csv"]
    limits = zip(specificity["ci_low"], specificity["ci_high"], strict=True)
    specificity = specificity.assign(omega_interval=[_interval(low, high) for low, high in limits])
    parts = (
        (specificity, _SPECIFICITY),
        (measures["site_health.csv"], _HEALTH),
        (measures["site_decodability.csv"], _DECODABILITY),
    )
    for table, columns in parts:
        facts = facts.merge(table[["site", *columns]], on="site", how="left", validate="one_to_one")
    return facts.dropna(axis="columns", how="all")


def channel_rows(measures: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row a site, branch and channel with its scores."""
    return measures["channel_specificity.csv.gz"]


def _interval(low: float, high: float) -> str:
    return "–" if pd.isna(low) or pd.isna(high) else f"{low:.2f} to {high:.2f}"
