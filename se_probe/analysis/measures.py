"""All measures of a recording as tidy tables, by the names of their files."""

import pandas as pd

from se_probe.analysis.decodability import site_decodability
from se_probe.analysis.health import channel_health, site_health
from se_probe.analysis.protocols import GateRecording
from se_probe.analysis.similarity import site_similarity
from se_probe.analysis.specificity import specificity_tables


def measure_tables(recording: GateRecording) -> dict[str, pd.DataFrame]:
    """Every measure of all sites, by the name of its file."""
    of_sites, of_channels = specificity_tables(recording)
    return {
        "site_specificity.csv": of_sites,
        "site_health.csv": site_health(recording),
        "site_similarity.csv": site_similarity(recording),
        "site_decodability.csv": site_decodability(recording),
        "channel_specificity.csv.gz": of_channels,
        "channel_health.csv.gz": channel_health(recording),
    }


def signal_tables(recording: GateRecording, signal: str) -> dict[str, pd.DataFrame]:
    """Specificity, similarity and decodability of another captured signal, by the name of its file.

    `recording` gives that signal in the place of gates (`Recording.of`). What is judged by thresholds in gate units,
    health and verdicts, is left out: other signals have units of their own.
    """
    of_sites, of_channels = specificity_tables(recording)
    tables = {
        f"site_specificity.{signal}.csv": of_sites,
        f"site_similarity.{signal}.csv": site_similarity(recording),
        f"site_decodability.{signal}.csv": site_decodability(recording),
        f"channel_specificity.{signal}.csv.gz": of_channels,
    }
    return {name: table.drop(columns=["verdict", "state"], errors="ignore") for name, table in tables.items()}
