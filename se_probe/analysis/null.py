"""A null recording beside the real one: what the architecture and the images alone give.

Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292.
"""

from collections.abc import Mapping

import pandas as pd

from se_probe.errors import SeProbeError

SPREADS = ("between_class_sd", "within_class_sd")
NULL_COLUMNS = {
    "site_specificity.csv": (*SPREADS, "omega_squared", "ci_low", "ci_high", "chosen_omega_squared"),
    "site_similarity.csv": (*SPREADS, "correlation", "true_distance", "hierarchy_correlation"),
    "site_decodability.csv": (*SPREADS, "accuracy", "ci_low", "ci_high"),
}
"""What is put beside the real numbers, by the table."""
_SAME = ("classes", "images")


def beside_null(tables: Mapping[str, pd.DataFrame], null: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Add the numbers of a null recording to the tables of sites, as `null_…` beside the real ones.

    Both are tables of `measure_tables`: of the network, and of the same architecture with fresh weights that has seen
    the same images. What the null reaches too is owed to the architecture and the images, not to training. Fresh gates
    hardly move, which a share of variance does not show: read `null_between_class_sd` and `null_within_class_sd`.

    Raises:
        SeProbeError: the recordings have other sites, or have seen other numbers of classes or images.
    """
    return {
        name: _joined(table, null[name], NULL_COLUMNS[name]) if name in NULL_COLUMNS else table
        for name, table in tables.items()
    }


def _joined(table: pd.DataFrame, null: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    _check_same(table, null)
    renamed = null[["site", *columns]].rename(columns={name: f"null_{name}" for name in columns})
    return table.merge(renamed, on="site", how="left", validate="one_to_one")


def _check_same(table: pd.DataFrame, null: pd.DataFrame) -> None:
    if table["site"].tolist() != null["site"].tolist():
        raise SeProbeError(
            f"the null recording has the sites {', '.join(null['site'])}; expected {', '.join(table['site'])}, record "
            "the same architecture with fresh weights"
        )
    for name in _SAME:
        if table[name].tolist() != null[name].tolist():
            raise SeProbeError(
                f"the null recording has seen {null[name].iloc[0]} {name} at {null['site'].iloc[0]}; expected "
                f"{table[name].iloc[0]}, record the same images"
            )
