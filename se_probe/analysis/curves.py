"""The curves of the excitation figures as tidy tables: one row a site, branch, channel and class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from se_probe.analysis.classes import class_statistics, reference_statistics, select_classes
from se_probe.analysis.protocols import RecordingLike, SiteLike
from se_probe.analysis.sampling import sample_channels, select_sites

CURVE_COLUMNS = (
    "site",
    "stage",
    "block",
    "activation",
    "site_channels",
    "branch",
    "channel",
    "position",
    "class",
    "role",
    "count",
    "mean",
    "std",
    "standard_error",
)
PAPER_WITHIN = ("goldfish", "airliner")


def excitation_curves(
    recording: RecordingLike,
    sites: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    channels: int | None = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean gate of sampled channels for each class, and for all classes with equal weights.

    `sites` defaults to `default_panels`, `classes` to the chosen classes, `channels` to fifty drawn by
    `sample_channels` (None: all of them).

    Args:
        recording: the recording.
        sites: names of the sites; None: those of `default_panels`.
        classes: names of the classes; None: the chosen ones.
        channels: number of channels to sample; None: all.
        seed: seed of the sampled channels.

    Returns:
        One row a site, branch, channel and class (`CURVE_COLUMNS`): `branch` is 0 where none compete, `position` is
        the channel's place on the x axis, `role` is "class" or "reference" (all classes), `std` is the unbiased
        standard deviation over images, NaN as is `standard_error` where a class has one image.

    Raises:
        SeProbeError: an unknown site, a class without images, or fewer than one channel.

    Source: Hu et al., Squeeze-and-Excitation Networks, "Role of Excitation".
    """
    names = recording.chosen if classes is None else classes
    tables = []
    for site in select_sites(recording.sites, sites):
        moments = _sampled_moments(recording, site, channels, seed)
        tables.append(_table(site, class_statistics(select_classes(moments, names)), "class"))
        tables.append(_table(site, reference_statistics(moments), "reference"))
    return pd.concat(tables, ignore_index=True)


def within_class_curves(
    recording: RecordingLike,
    classes: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    channels: int | None = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean and standard deviation over the images of a class, for the same sites and channels.

    `classes` defaults to `default_within`. Returns the columns of `excitation_curves`, without the reference.

    Args:
        recording: the recording.
        classes: names of the classes; None: those of `default_within`.
        sites: names of the sites; None: those of `default_panels`.
        channels: number of channels to sample; None: all.
        seed: seed of the sampled channels.

    Raises:
        SeProbeError: an unknown site, a class without images, or fewer than one channel.

    Source: Hu et al., Squeeze-and-Excitation Networks, the within-class figure of the appendix.
    """
    names = default_within(recording.chosen) if classes is None else classes
    tables = []
    for site in select_sites(recording.sites, sites):
        moments = _sampled_moments(recording, site, channels, seed)
        tables.append(_table(site, class_statistics(select_classes(moments, names)), "class"))
    return pd.concat(tables, ignore_index=True)


def default_within(chosen: Sequence[str]) -> list[str]:
    """The paper's goldfish and plane (airliner) where both are chosen, else the first two chosen classes."""
    if set(PAPER_WITHIN) <= set(chosen):
        return list(PAPER_WITHIN)
    return list(chosen[:2])


def statistics_table(statistics: xr.Dataset) -> pd.DataFrame:
    """A row a class, branch and channel of labelled statistics; branch 0 where none compete."""
    if "branch" not in statistics.dims:
        statistics = statistics.expand_dims(branch=[0])
    return statistics.to_dataframe(dim_order=["class", "branch", "channel"]).reset_index()


def _sampled_moments(recording: RecordingLike, site: SiteLike, channels: int | None, seed: int) -> xr.Dataset:
    picked = sample_channels(site.channels, channels, seed)
    moments = recording.moments(site.name).isel(channel=picked)
    return moments.assign_coords(channel=picked, position=("channel", np.arange(picked.size))).compute()


def _table(site: SiteLike, statistics: xr.Dataset, role: str) -> pd.DataFrame:
    table = statistics_table(statistics)
    table["std"] = np.sqrt(table["variance"])
    table = table.assign(
        site=site.name,
        stage=site.stage,
        block=site.block,
        activation=site.activation,
        site_channels=site.channels,
        role=role,
    )
    return table[list(CURVE_COLUMNS)]
