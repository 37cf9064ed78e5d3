"""Class-wise statistics of gates with labels: tables of a recording, and the curves of the excitation figures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from se_probe.analysis.gates import class_spreads, site_moments
from se_probe.analysis.protocols import RecordingLike, SiteLike
from se_probe.analysis.sampling import sample_channels, select_sites
from se_probe.analysis.stats.moments import (
    Floats,
    Moments,
    equal_weight_mean,
    equal_weight_standard_error,
    equal_weight_variance,
    sample_variance,
    standard_error,
    unbiased_variance,
)
from se_probe.errors import SeProbeError

CURVE_COLUMNS = (
    *("site", "stage", "block", "activation", "site_channels", "branch", "channel", "position"),
    *("class", "role", "count", "mean", "std", "standard_error"),
)
CLASS_COLUMNS = ("site", "branch", "channel", "class", "role", "count", "mean", "variance", "standard_error")
SITE_FACTS = ("module", "family", "stage", "block", "channels", "branches", "activation", "reduction")
PAPER_WITHIN = ("goldfish", "airliner")


def class_statistics(moments: xr.Dataset) -> xr.Dataset:
    """Compute count, mean, variance and standard error of every class over its images.

    Args:
        moments: `count` (class), `mean` and `m2` (class, [branch,] channel), as from `Recording.moments`.

    Returns:
        `count` (class) and `mean`, unbiased `variance`, `standard_error` (class, [branch,] channel) in float64, the
        latter two NaN for a class with a single image.
    """
    count, m2 = moments["count"], moments["m2"]
    return xr.Dataset(
        {
            "count": count,
            "mean": moments["mean"].astype("float64"),
            "variance": xr.apply_ufunc(unbiased_variance, count, m2),
            "standard_error": xr.apply_ufunc(standard_error, count, m2),
        }
    )


def reference_statistics(moments: xr.Dataset) -> xr.Dataset:
    """Compute the statistics of all classes together, as an equal-weight mixture.

    Args:
        moments: as for `class_statistics`.

    Returns:
        As `class_statistics`, with the single entry `reference_name(K)` along `class` for K classes. Variance and
        standard error are NaN if any class has a single image.
    """
    count, mean, m2 = moments["count"], moments["mean"], moments["m2"]
    over = ["class"]

    def variance(count: NDArray[np.int64], mean: Floats, m2: Floats) -> Floats:
        return equal_weight_variance(Moments(count, mean, m2))

    reference = xr.Dataset(
        {
            "count": count.sum("class"),
            "mean": xr.apply_ufunc(equal_weight_mean, mean, input_core_dims=[over]),
            "variance": xr.apply_ufunc(variance, count, mean, m2, input_core_dims=[over, over, over]),
            "standard_error": xr.apply_ufunc(equal_weight_standard_error, count, m2, input_core_dims=[over, over]),
        }
    )
    return reference.expand_dims({"class": [reference_name(moments.sizes["class"])]})


def reference_name(classes: int) -> str:
    """Return the name of the curve of all classes together, with their number."""
    return f"all classes ({classes})"


def select_classes(moments: xr.Dataset, names: Sequence[str] | None) -> xr.Dataset:
    """Return the moments of the classes `names` (None: all), in that order.

    Raises:
        SeProbeError: the recording has no image of a class.
    """
    if names is None:
        return moments
    seen = {str(name) for name in moments["class"].values}
    missing = [name for name in names if name not in seen]
    if missing:
        raise SeProbeError(
            f"class '{missing[0]}' is not among the {len(seen)} classes of the recording; "
            "choose one that is, or record it with --classes"
        )
    return moments.sel({"class": list(names)})


def as_table(statistics: xr.Dataset) -> pd.DataFrame:
    """Labelled statistics with one row per class, branch and channel; branch 0 where none compete."""
    if "branch" not in statistics.dims:
        statistics = statistics.expand_dims(branch=[0])
    return statistics.to_dataframe(dim_order=["class", "branch", "channel"]).reset_index()


def _beside_reference(moments: xr.Dataset, names: Sequence[str]) -> pd.DataFrame:
    """Statistics of the classes `names`, then of all classes together, distinguished by `role`."""
    chosen = as_table(class_statistics(select_classes(moments, names))).assign(role="class")
    reference = as_table(reference_statistics(moments)).assign(role="reference")
    return pd.concat([chosen, reference], ignore_index=True)


def excitation_curves(
    recording: RecordingLike,
    sites: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    channels: int | None = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean gate of sampled channels for each class, and for all classes with equal weights.

    Args:
        recording: the recording.
        sites: names of the sites; None: those of `default_panels`.
        classes: names of the classes; None: the chosen ones.
        channels: number of channels to sample with `sample_channels`; None: all.
        seed: seed of the sampled channels.

    Returns:
        One row per site, branch, channel and class (`CURVE_COLUMNS`): `branch` is 0 where none compete, `position` is
        the channel's position on the x axis, `role` is "class" or "reference" (all classes), `std` is over images.

    Raises:
        SeProbeError: an unknown site, a class without images, or fewer than one channel.

    Source: Hu et al., Squeeze-and-Excitation Networks, "Role of Excitation".
    """
    names = recording.chosen if classes is None else classes
    tables = []
    for site in select_sites(recording.sites, sites):
        picked = sample_channels(site.channels, channels, seed)
        moments = recording.moments(site.name).isel(channel=picked)
        moments = moments.assign_coords(channel=picked, position=("channel", np.arange(picked.size))).compute()
        table = _beside_reference(moments, names).assign(site=site.name, stage=site.stage, block=site.block)
        std = table.pop("variance") ** 0.5
        tables.append(table.assign(activation=site.activation, site_channels=site.channels, std=std))
    return pd.concat(tables, ignore_index=True)[list(CURVE_COLUMNS)]


def within_class_curves(
    recording: RecordingLike,
    classes: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    channels: int | None = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean and standard deviation over the images of a class, for the same sites and channels.

    Args:
        recording: the recording.
        classes: names of the classes; None: those of `default_within`.
        sites: names of the sites; None: those of `default_panels`.
        channels: number of channels to sample; None: all.
        seed: seed of the sampled channels.

    Returns:
        The rows of `excitation_curves` without the reference.

    Raises:
        SeProbeError: an unknown site, a class without images, or fewer than one channel.

    Source: Hu et al., Squeeze-and-Excitation Networks, the within-class figure of the appendix.
    """
    names = default_within(recording.chosen) if classes is None else classes
    curves = excitation_curves(recording, sites, names, channels, seed)
    return curves[curves["role"] == "class"].reset_index(drop=True)


def default_within(chosen: Sequence[str]) -> list[str]:
    """The paper's goldfish and plane (airliner) where both are chosen, else the first two chosen classes."""
    return list(PAPER_WITHIN if set(PAPER_WITHIN) <= set(chosen) else chosen[:2])


def class_table(recording: RecordingLike, classes: Sequence[str] | None = None) -> pd.DataFrame:
    """Class-wise mean and variance for every site, branch and channel, and for all classes together.

    `classes` defaults to the chosen ones, because 1000 classes of SE-ResNet-50 are 15 million rows. Columns as in
    `excitation_curves`, with the unbiased variance instead of its square root.

    Raises:
        SeProbeError: a class without images.
    """
    names = recording.chosen if classes is None else classes
    tables = [
        _beside_reference(recording.moments(site.name).compute(), names).assign(site=site.name)
        for site in recording.sites
    ]
    return pd.concat(tables, ignore_index=True)[list(CLASS_COLUMNS)]


def site_table(recording: RecordingLike) -> pd.DataFrame:
    """One row per site, in network order: its facts, the mean of its gates and their spreads.

    After the site's facts come `classes` and `images` seen; `mean`, over classes with equal weights and over channels
    (of all branches); `channel_sd`, the unbiased standard deviation between the means of channels; `between_class_sd`
    and `within_class_sd` as in `gates.class_spreads`, NaN where no class has two images. All three near zero is a
    collapsed gate. `lowest` and `highest` bound the means of the chosen classes.
    """
    return pd.DataFrame([_site_row(recording, site) for site in recording.sites])


def recording_tables(recording: RecordingLike) -> dict[str, pd.DataFrame]:
    """Return the tables of sites and of class-wise statistics by the name of their file, compressed for its size."""
    return {"sites.csv": site_table(recording), "class_statistics.csv.gz": class_table(recording)}


def _site_row(recording: RecordingLike, site: SiteLike) -> dict[str, object]:
    moments, several = recording.moments(site.name).compute(), site_moments(recording, site)
    chosen = select_classes(moments, recording.chosen)["mean"]
    channels = equal_weight_mean(moments["mean"].transpose(..., "class")).ravel()
    return {
        "site": site.name,
        **{name: getattr(site, name) for name in SITE_FACTS},
        "classes": moments.sizes["class"],
        "images": int(moments["count"].sum()),
        "mean": float(channels.mean()),
        "channel_sd": float(np.sqrt(sample_variance(channels))),
        **class_spreads(several.components, len(several.names)),
        "lowest": float(chosen.min()),
        "highest": float(chosen.max()),
    }
