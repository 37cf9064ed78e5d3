"""What plain properties of the images explain of the gates: brightness, contrast and mean colour as covariates."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.gates import chosen_sites, each_site, image_numbers, site_facts, site_gates, site_moments
from se_probe.analysis.protocols import GateRecording, SiteLike
from se_probe.analysis.stats.regression import explained_share
from se_probe.errors import SeProbeError

GROUPS = {"brightness": ("brightness",), "contrast": ("contrast",), "colour": ("red_green", "blue_yellow")}
"""The covariates of `image_covariates`, by what they stand for."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


def image_covariates(pixels: NDArray[np.floating]) -> pd.DataFrame:
    """Measure brightness, contrast and mean colour of images `(image, 3, height, width)`, RGB from 0 to 1.

    Returns:
        One row an image: `brightness`, mean luma; `contrast`, its standard deviation over pixels; `red_green`, mean of
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
    """Share of the variance of gates within classes that covariates of the images explain.

    Gates and covariates are taken less their class means, so that what sets classes apart is not counted.

    Args:
        recording: the recording.
        covariates: a row for each image whose gates were kept, by its number in the recording; a column a covariate,
            such as those of `image_covariates`.
        sites: names of the sites; None: all.

    Returns:
        One row a site. After the facts of `site_facts`: `chosen_images`; `explained`, the share of all covariates
        together, and for each group of `GROUPS` that is there `explained_by_…`, that of the group alone. Shares are
        pooled over channels and corrected for the number of covariates (adjusted R²): near 0, and as often below as
        above it, where covariates explain nothing. Those of groups do not add up, since covariates are correlated.

    Raises:
        SeProbeError: an unknown site, or an image without covariates.

    Source: `stats.regression.explained_share`.
    """
    parts = {f"explained_by_{name}": covariates.columns.intersection(list(own)) for name, own in GROUPS.items()}
    groups = {"explained": covariates.columns} | {name: own for name, own in parts.items() if len(own)}

    def measured(site: SiteLike) -> dict[str, object]:
        gates = site_gates(recording, site)
        table = rows_of(covariates, image_numbers(recording.gates(site.name)))
        shares = {
            name: explained_share(gates.values, gates.labels, table[own].to_numpy(dtype=np.float64))
            for name, own in groups.items()
        }
        return {**site_facts(site_moments(recording, site)), "chosen_images": len(gates.values), **shares}

    return pd.DataFrame(each_site(measured, chosen_sites(recording, sites)))


def rows_of(covariates: pd.DataFrame, images: NDArray[np.int64]) -> pd.DataFrame:
    """The covariates of images, in their order."""
    missing = np.setdiff1d(images, covariates.index.to_numpy())
    if missing.size:
        raise SeProbeError(
            f"{missing.size} of {images.size} images have no covariates, the first of them image {missing[0]}; "
            "expected a row for each image whose gates were kept, indexed by its number in the recording"
        )
    return covariates.loc[images]
