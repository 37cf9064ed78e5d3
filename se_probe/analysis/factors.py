"""Known factors of the images, such as an object's size: the share of a gate's variance that each explains."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from se_probe.analysis.covariates import rows_of
from se_probe.analysis.gates import channel_facts, chosen_sites, each_site, image_numbers, site_gates, site_moments
from se_probe.analysis.protocols import GateRecording, SiteLike
from se_probe.analysis.stats.class_tests import false_discovery
from se_probe.analysis.stats.regression import explained_by_column, explained_share
from se_probe.errors import SeProbeError

FILE_COLUMN = "path"
"""Column of a file of factors that names the image."""
ALL = "all factors"
"""Name of the row of all factors together."""


def read_factors(path: str | Path, images: pd.DataFrame) -> pd.DataFrame:
    """Read the factors of recorded images from a CSV file.

    Args:
        path: the file: a column `path`, an image's path as in the recording or its file name where that is unique, and
            a column a factor. Numbers count as they are, text as categories. Columns `hue.sin` and `hue.cos` are two
            columns of one factor, `hue`.
        images: the recording's table of images, with `path`.

    Returns:
        One row an image, indexed as `images`; a column a factor.

    Raises:
        SeProbeError: the file cannot be read, has no column `path` or no factor, names an image twice, lacks an image
            or a value, or a number is not finite.
    """
    try:
        table = pd.read_csv(path, dtype={FILE_COLUMN: str}, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SeProbeError(
            f"{path} cannot be read as CSV ({error}); expected a column path and a column a factor"
        ) from error
    if FILE_COLUMN not in table or len(table.columns) < 2:
        found = ", ".join(map(str, table.columns))
        raise SeProbeError(f"{path} has the columns {found}; expected path, and a column a factor")
    repeated = table[FILE_COLUMN][table[FILE_COLUMN].duplicated()]
    if len(repeated):
        raise SeProbeError(f"{path} names {repeated.iloc[0]} more than once; expected a row an image")
    rows = table.set_index(FILE_COLUMN)
    names = images["path"].map(lambda name: Path(name).name)
    keys = images["path"] if images["path"].isin(rows.index).any() or names.duplicated().any() else names
    missing = images["path"][~keys.isin(rows.index)]
    if len(missing):
        raise SeProbeError(
            f"{path} has no row for {len(missing)} of {len(images)} images, the first of them {missing.iloc[0]}; "
            "expected each image's path as in the recording"
        )
    chosen = rows.loc[keys].set_index(images.index)
    for name in chosen:
        numbers = pd.api.types.is_numeric_dtype(chosen[name])
        if not (np.isfinite(chosen[name]).all() if numbers else chosen[name].notna().all()):
            raise SeProbeError(f"{path} has no finite value of {name} for some image; expected one for each")
    return chosen


def factor_tables(
    recording: GateRecording,
    factors: pd.DataFrame,
    sites: Sequence[str] | None = None,
    *,
    permutations: int = 1999,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Measure the share of the gates' variance within classes that each factor explains alone.

    Args:
        recording: the recording.
        factors: a row for each image whose gates were kept, by its number in the recording, as from `read_factors`.
        sites: names of the sites; None: all.
        permutations: permutations of the images within classes, for p.
        seed: seed of the random numbers.

    Returns:
        `site_factors.csv`: one row a site and factor, `share` pooled over channels, and the row "all factors" for all
        together. `channel_factors.csv.gz`: one row a site, branch, channel and factor, with `share`, `p` (permutation)
        and `q` (false-discovery adjusted over the channels of a site). Shares are adjusted R², corrected for the number
        of columns: near 0, and as often below as above it, where a factor explains nothing. They add up only where
        factors are independent.

    Raises:
        SeProbeError: an unknown site, or an image without factors.
    """
    columns = {name: _numbers(factors, own) for name, own in _groups(factors).items()}

    def measured(site: SiteLike) -> tuple[list[dict[str, object]], list[pd.DataFrame]]:
        gates, facts = site_gates(recording, site), channel_facts(site_moments(recording, site))
        images = image_numbers(recording.gates(site.name))
        of_site: list[dict[str, object]] = []
        of_channels: list[pd.DataFrame] = []
        for name, table in columns.items():
            values = rows_of(table, images).to_numpy()
            of_site.append(
                {"site": site.name, "factor": name, "share": explained_share(gates.values, gates.labels, values)}
            )
            share, p = explained_by_column(gates.values, gates.labels, values, permutations=permutations, seed=seed)
            channels = facts[["site", "branch", "channel"]].assign(factor=name, share=share, p=p, q=false_discovery(p))
            of_channels.append(channels)
        everything = pd.concat(columns.values(), axis=1).loc[images].to_numpy()
        whole = explained_share(gates.values, gates.labels, everything)
        return [*of_site, {"site": site.name, "factor": ALL, "share": whole}], of_channels

    found = each_site(measured, chosen_sites(recording, sites))
    return {
        "site_factors.csv": pd.DataFrame([row for rows, _ in found for row in rows]),
        "channel_factors.csv.gz": pd.concat([table for _, tables in found for table in tables], ignore_index=True),
    }


def _groups(factors: pd.DataFrame) -> dict[str, list[str]]:
    """The columns of each factor: those with the same name before the first dot."""
    groups: dict[str, list[str]] = {}
    for column in factors:
        groups.setdefault(str(column).split(".", 1)[0], []).append(str(column))
    return groups


def _numbers(factors: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Columns as numbers; text as an indicator of each category."""
    return pd.get_dummies(factors[columns], drop_first=True, dtype=np.float64).astype(np.float64)
