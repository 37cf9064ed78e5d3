"""What stands beside the claims: a null recording with fresh weights, and plain properties of the images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from se_probe.analysis.findings.sentences import percent

SPECIFICITY, DECODABILITY, COVARIATES = "site_specificity.csv", "site_decodability.csv", "site_covariates.csv"


def context_sentences(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Sentences to add to statements, by the key of the finding.

    The `null_…` columns of `beside_null` in tables of `measure_tables` give a sentence on the null, the table of
    `site_covariates` as `site_covariates.csv` one on the images.
    """
    told = {}
    if "null_omega_squared" in tables.get(SPECIFICITY, ()):
        told["class-specific-late"] = _null(tables)
    if COVARIATES in tables and tables[COVARIATES]["explained"].notna().any():
        told["more-variance-within-classes-late"] = _covariates(tables[COVARIATES])
    return told


def _null(tables: Mapping[str, pd.DataFrame]) -> str:
    """What the architecture and the images alone give."""
    sites = tables[SPECIFICITY]
    parts = [
        f"ω² is {sites['null_omega_squared'].mean():.2f} (here {sites['omega_squared'].mean():.2f}, means over sites)",
        f"class means differ by {_rms(sites['null_between_class_sd']):.4f} gate units "
        f"(here {_rms(sites['between_class_sd']):.4f}, noise of the means included)",
    ]
    decoded = tables.get(DECODABILITY)
    if decoded is not None and decoded.get("null_accuracy", pd.Series(dtype=float)).notna().any():
        parts.append(
            f"a linear classifier tells the chosen classes apart in {percent(decoded['null_accuracy'].max())} of the "
            f"images at the best site (here {percent(decoded['accuracy'].max())}, chance "
            f"{percent(decoded['chance'].max())})"
        )
    return f"With fresh weights and the same images {', '.join(parts[:-1])} and {parts[-1]}."


def _covariates(table: pd.DataFrame) -> str:
    """How much of the variance within classes the plainest properties of the images explain."""
    explained = np.maximum(table["explained"].to_numpy(dtype=np.float64), 0.0)
    most = int(np.nanargmax(explained))
    return (
        f"Brightness, contrast and mean colour of the images explain {percent(float(np.nanmean(explained)))} of the "
        f"variance within classes on average over sites, {percent(explained[most])} at {table['site'].iloc[most]}."
    )


def _rms(values: pd.Series) -> float:
    return float((values**2).mean() ** 0.5)
