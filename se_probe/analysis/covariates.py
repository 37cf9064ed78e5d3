"""Variance of gates that is explained by properties of the images: brightness, contrast, colour, or known factors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.gates import (
    chosen_sites,
    columns_of,
    each_site,
    image_numbers,
    site_facts,
    site_gates,
    site_moments,
)
from se_probe.analysis.protocols import GateRecording, SiteLike
from se_probe.analysis.stats.class_tests import false_discovery
from se_probe.analysis.stats.regression import explained_by_column, explained_share
from se_probe.errors import SeProbeError

GROUPS = {"brightness": ("brightness",), "contrast": ("contrast",), "colour": ("red_green", "blue_yellow")}
"""The covariates of `image_covariates` by group."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""
FILE_COLUMN = "path"
"""Column of a file of factors that names the image."""
ALL = "all factors"
"""Name of the row of all factors together."""


def image_covariates(pixels: NDArray[np.floating]) -> pd.DataFrame:
    """Measure brightness, contrast and mean colour of images `(image, 3, height, width)`, RGB from 0 to 1.

    Returns:
        One row per image: `brightness`, mean luma; `contrast`, its standard deviation over pixels; `red_green`, mean of
        red less green; `blue_yellow`, mean of blue less the mean of red and green. All are in units of the pixel.
    """
    values = np.asarray(pixels, dtype=np.float64)
    luma = np.tensordot(values, LUMA, axes=(1, 0))
    red, green, blue = values.mean(axis=(2, 3)).T
    return pd.DataFrame(
        {
            "brightness": luma.mean(axis=(1, 2)),
            "contrast": luma.std(axis=(1, 2)),
            "red_green": red - green,
            "blue_yellow": blue - (red + green) / 2,
        }
    )


def site_covariates(
    recording: GateRecording, covariates: pd.DataFrame, sites: Sequence[str] | None = None
) -> pd.DataFrame:
    """Measure the share of within-class gate variance that covariates of the images explain.

    Class means are subtracted from gates and covariates, so that differences between classes do not count.

    Args:
        recording: the recording.
        covariates: one row per image whose gates were kept, by its number in the recording; one column per covariate,
            such as those of `image_covariates`.
        sites: names of the sites; None: all.

    Returns:
        One row per site. After the facts of `site_facts`: `chosen_images`; `explained`, the share of all covariates
        together, and `explained_by_…`, that of each group of `GROUPS` alone. Shares are adjusted R², pooled over
        channels and centred on 0 where covariates explain nothing. Those of groups do not add up, because covariates
        are correlated.

    Raises:
        SeProbeError: an unknown site, or an image without covariates.

    Source: `stats.regression.explained_share`.
    """
    parts = {f"explained_by_{name}": covariates.columns.intersection(list(own)) for name, own in GROUPS.items()}
    groups = {"explained": covariates.columns} | {name: own for name, own in parts.items() if len(own)}

    def measured(site: SiteLike) -> dict[str, object]:
        gates = site_gates(recording, site)
        table = _rows_of(covariates, image_numbers(recording.gates(site.name)))
        shares = {
            name: explained_share(gates.values, gates.labels, table[own].to_numpy(dtype=np.float64))
            for name, own in groups.items()
        }
        return {**site_facts(site_moments(recording, site)), "chosen_images": len(gates.values), **shares}

    return pd.DataFrame(each_site(measured, chosen_sites(recording, sites)))


def _rows_of(covariates: pd.DataFrame, images: NDArray[np.int64]) -> pd.DataFrame:
    missing = np.setdiff1d(images, covariates.index.to_numpy())
    if missing.size:
        raise SeProbeError(
            f"{missing.size} of {images.size} images have no covariates, the first of them image {missing[0]}; "
            "expected a row for each image whose gates were kept, indexed by its number in the recording"
        )
    return covariates.loc[images]


def read_factors(path: str | Path, images: pd.DataFrame) -> pd.DataFrame:
    """Read the factors of recorded images from a CSV file: one row per image, indexed as `images`, one column per
    factor.

    Args:
        path: the file: a column `path`, an image's path as in the recording or its file name where that is unique, and
            one column per factor, of numbers or of text as categories. Columns `hue.sin` and `hue.cos` are two columns
            of one factor, `hue`.
        images: the recording's table of images, with `path`.

    Raises:
        SeProbeError: the file cannot be read, has no column `path` or no factor, names an image twice, lacks an image
            or a value, or a number is not finite.
    """
    try:
        table = pd.read_csv(path, dtype={FILE_COLUMN: str}, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SeProbeError(
            f"{path} cannot be read as CSV ({error}); expected a column path and one column per factor"
        ) from error
    if FILE_COLUMN not in table or len(table.columns) < 2:
        found = ", ".join(map(str, table.columns))
        raise SeProbeError(f"{path} has the columns {found}; expected path, and one column per factor")
    repeated = table[FILE_COLUMN][table[FILE_COLUMN].duplicated()]
    if len(repeated):
        raise SeProbeError(f"{path} names {repeated.iloc[0]} more than once; expected one row per image")
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

    `factors` are those of `read_factors`, for each image whose gates were kept; p is from `permutations` of the images
    within classes.

    `site_factors.csv`: one row per site and factor, `share` pooled over channels, and the row "all factors" for all
    together. `channel_factors.csv.gz`: one row per site, branch, channel and factor, with `share`, `p` (permutation)
    and `q` (false-discovery adjusted over the channels of a site). Shares are adjusted R², centred on 0 where a factor
    explains nothing. They add up only where factors are independent.
    """
    names = [str(column).split(".", 1)[0] for column in factors]
    columns = {name: _numbers(factors.loc[:, [other == name for other in names]]) for name in names}

    def measured(site: SiteLike) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
        gates, images = site_gates(recording, site), image_numbers(recording.gates(site.name))
        shares, tables = {}, []
        for name, table in columns.items():
            values = _rows_of(table, images).to_numpy()
            shares[name] = explained_share(gates.values, gates.labels, values)
            share, p = explained_by_column(gates.values, gates.labels, values, permutations=permutations, seed=seed)
            tables.append(columns_of(site).assign(factor=name, share=share, p=p, q=false_discovery(p)))
        everything = pd.concat(columns.values(), axis=1).loc[images].to_numpy()
        shares[ALL] = explained_share(gates.values, gates.labels, everything)
        return pd.DataFrame({"site": site.name, "factor": shares.keys(), "share": shares.values()}), tables

    found = each_site(measured, chosen_sites(recording, sites))
    return {
        "site_factors.csv": pd.concat([table for table, _ in found], ignore_index=True),
        "channel_factors.csv.gz": pd.concat([table for _, tables in found for table in tables], ignore_index=True),
    }


def _numbers(factor: pd.DataFrame) -> pd.DataFrame:
    """The columns of a factor as numbers; text as an indicator of each category."""
    return pd.get_dummies(factor, drop_first=True, dtype=np.float64).astype(np.float64)
