"""All measures of a recording as tables by the names of their files, and those of a null recording beside them."""

from collections.abc import Mapping

import pandas as pd

from se_probe.analysis.health import channel_health, site_health
from se_probe.analysis.protocols import GateRecording
from se_probe.analysis.similarity import site_similarity
from se_probe.analysis.specificity import site_decodability, specificity_tables
from se_probe.analysis.words import word_tables
from se_probe.errors import SeProbeError

SPREADS = ("between_class_sd", "within_class_sd")
NULL_COLUMNS = {
    "site_specificity.csv": (*SPREADS, "omega_squared", "ci_low", "ci_high", "chosen_omega_squared"),
    "site_similarity.csv": (*SPREADS, "correlation", "true_distance", "hierarchy_correlation"),
    "site_decodability.csv": (*SPREADS, "accuracy", "ci_low", "ci_high"),
    "site_words.csv": (*SPREADS, "named", "named_share"),
}
"""Columns of a null recording that are added to each table."""


def measure_tables(recording: GateRecording) -> dict[str, pd.DataFrame]:
    """Every measure of all sites, by the name of its file."""
    of_sites, of_channels = specificity_tables(recording)
    site_words, channel_words = word_tables(recording)
    return {
        "site_specificity.csv": of_sites,
        "site_health.csv": site_health(recording),
        "site_similarity.csv": site_similarity(recording),
        "site_decodability.csv": site_decodability(recording),
        "channel_specificity.csv.gz": of_channels,
        "site_words.csv": site_words,
        "channel_health.csv.gz": channel_health(recording),
        "channel_words.csv.gz": channel_words,
    }


def signal_tables(recording: GateRecording, signal: str) -> dict[str, pd.DataFrame]:
    """Specificity, similarity and decodability of another captured signal, by the name of its file.

    `recording` has that signal in place of gates (`Recording.of`). Health and verdicts are left out, because their
    thresholds are in gate units.
    """
    of_sites, of_channels = specificity_tables(recording)
    tables = {
        f"site_specificity.{signal}.csv": of_sites,
        f"site_similarity.{signal}.csv": site_similarity(recording),
        f"site_decodability.{signal}.csv": site_decodability(recording),
        f"channel_specificity.{signal}.csv.gz": of_channels,
    }
    return {name: table.drop(columns=["verdict", "state"], errors="ignore") for name, table in tables.items()}


def beside_null(tables: Mapping[str, pd.DataFrame], null: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Add `null_…` columns to the tables of sites, from the same architecture with fresh weights on the same images.

    Both arguments are tables of `measure_tables`. Values that the null reaches too come from the architecture and the
    images, not from training. Fresh gates hardly move, which a share of variance does not show: read
    `null_between_class_sd` and `null_within_class_sd`.

    Raises:
        SeProbeError: the recordings differ in their sites or their numbers of classes or images.

    Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292.
    """
    joined = dict(tables)
    for name in NULL_COLUMNS.keys() & tables.keys():
        _check_same(tables[name], null[name])
        added = null[name][["site", *NULL_COLUMNS[name]]].rename(columns=lambda column: f"null_{column}")
        joined[name] = tables[name].merge(added.rename(columns={"null_site": "site"}), on="site", validate="one_to_one")
    return joined


def _check_same(table: pd.DataFrame, null: pd.DataFrame) -> None:
    if table["site"].tolist() != null["site"].tolist():
        raise SeProbeError(
            f"the null recording has the sites {', '.join(null['site'])}; expected {', '.join(table['site'])}, record "
            "the same architecture with fresh weights"
        )
    for name in ("classes", "images"):
        if table[name].tolist() != null[name].tolist():
            raise SeProbeError(
                f"the null recording has seen {null[name].iloc[0]} {name} at {null['site'].iloc[0]}; expected "
                f"{table[name].iloc[0]}, record the same images"
            )
