"""Competing branches: attention by split, how evenly it is shared, and class dependence by cardinal group.

Source: Zhang et al., ResNeSt: Split-Attention Networks, arXiv 2004.08955.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from se_probe.analysis.protocols import GateRecording, RecordingLike, SiteLike
from se_probe.analysis.stats.moments import equal_weight_mean, sample_variance
from se_probe.analysis.stats.states import branch_entropy
from se_probe.analysis.stats.variance import between_class_sd, components, omega_squared
from se_probe.errors import SeProbeError

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)


def shares_one(site: SiteLike) -> bool:
    """Whether a site's branches compete for a sum of one; with a single one (R = 1) the gate is a sigmoid."""
    return site.branches > 1 and site.activation.startswith("softmax")


def split_attention(recording: RecordingLike) -> pd.DataFrame:
    """Mean attention of every branch (radix split) of every site, over all classes with equal weights.

    Returns:
        One row a site and branch: `site`, `stage`, `block`, `activation`, `branches`, `branch`; `mean` over classes
        and channels; `channel_sd`, the unbiased standard deviation between the means of channels;
        `between_class_sd` as in all tables. A softmax over R branches has the mean 1/R over them; a single branch
        is a sigmoid gate, whose mean lies anywhere between 0 and 1.
    """
    rows = []
    for site in recording.sites:
        for branch, _, part in _parts(recording.moments(site.name).compute(), 1):
            channels = equal_weight_mean(part["mean"].transpose("channel", "class"))
            numbers = {
                "mean": float(channels.mean()),
                "channel_sd": float(np.sqrt(sample_variance(channels))),
                "between_class_sd": _dependence(part)["between_class_sd"],
            }
            rows.append({**_facts(site), "branch": branch, **numbers})
    return pd.DataFrame(rows)


def split_entropy(recording: GateRecording) -> pd.DataFrame:
    """How evenly attention is shared among the branches of every site, over images of the chosen classes.

    Returns:
        One row a site: `site`, `stage`, `block`, `activation`, `branches`; `entropy`, over log R, mean over images
        and channels with every class weighing the same (1: even, 0: one branch has all); `entropy_sd`, the spread
        of an image's mean; `entropy_of_mean`, that of the mean attention over images: as low where a channel always
        prefers the same branch, higher where the choice depends on the image. NaN where branches do not compete, R
        = 1 among them.
    """
    rows = []
    for site in recording.sites:
        numbers = dict.fromkeys(("entropy", "entropy_sd", "entropy_of_mean"), np.nan)
        if shares_one(site):
            gates = recording.gates(site.name).compute()
            by_image = gates.isel(branch=0).copy(data=branch_entropy(gates.values)).mean("channel")
            by_class = gates.groupby("class").mean("image").mean("class")
            numbers["entropy"] = float(by_image.groupby("class").mean().mean())
            numbers["entropy_sd"] = float(np.sqrt(sample_variance(by_image.values)))
            mean_attention = by_class.transpose("branch", "channel").values[None]
            numbers["entropy_of_mean"] = float(branch_entropy(mean_attention).mean())
        rows.append({**_facts(site), **numbers})
    return pd.DataFrame(rows)


def cardinal_groups(recording: RecordingLike, cardinality: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Class dependence of the gates of every cardinal group, from the moments of every class seen.

    `cardinality` gives the number K of groups of each site; channels lie group by group. A site that it does
    not name is taken as one group, with `groups_known` False.

    Returns:
        One row a site, branch and group: `site`, `stage`, `block`, `activation`, `branches`, `branch`, `group`,
        `groups`, `groups_known`, `channels`, `mean`; `between_class_sd` and `within_class_sd`, bias-corrected
        spreads between and within classes in gate units (root mean square over channels); `omega_squared`, the
        share of the variance that lies between classes, pooled over channels. Classes with one image are left out.

    Raises:
        SeProbeError: the channels of a site cannot be divided into K groups.
    """
    known = cardinality or {}
    rows = []
    for site in recording.sites:
        groups = known.get(site.name, 1)
        if groups < 1 or site.channels % groups:
            raise SeProbeError(
                f"{site.name} has {site.channels} channels, which do not divide into {groups} cardinal groups; "
                "expected a divisor of the number of channels."
            )
        moments = recording.moments(site.name).compute()
        for branch, group, part in _parts(moments, groups):
            place = {"branch": branch, "group": group, "groups": groups, "groups_known": site.name in known}
            rows.append({**_facts(site), **place, **_dependence(part)})
    return pd.DataFrame(rows)


def has_branches(recording: RecordingLike) -> bool:
    """Return whether a recording has sites with branches, or of split attention with a single one."""
    return any(site.branches > 1 or site.family == "split attention" for site in recording.sites)


def branch_tables(recording: GateRecording, cardinality: Mapping[str, int] | None = None) -> dict[str, pd.DataFrame]:
    """Return the tables of branches by the names of their files.

    Args:
        recording: the recording.
        directory: folder that gets the tables.
        cardinality: number of cardinal groups of each site; None: one.

    Raises:
        SeProbeError: as `cardinal_groups`.
    """
    return {
        "split_attention.csv": split_attention(recording),
        "split_entropy.csv": split_entropy(recording),
        "cardinal_groups.csv": cardinal_groups(recording, cardinality),
    }


def _parts(moments: xr.Dataset, groups: int) -> Iterator[tuple[int, int, xr.Dataset]]:
    """Branch, group and the moments of that group's channels."""
    whole = _with_branches(moments)
    for branch in range(whole.sizes["branch"]):
        for group, channels in enumerate(np.split(np.arange(whole.sizes["channel"]), groups)):
            yield branch, group, whole.isel(branch=branch, channel=channels)


def _dependence(moments: xr.Dataset) -> dict[str, float]:
    mean, m2 = (moments[name].transpose("channel", "class").values for name in ("mean", "m2"))
    count = moments["count"].values
    kept = count >= 2 if np.any(count >= 2) else np.ones_like(count, dtype=bool)
    pooled = components(count[kept], mean[:, kept], m2[:, kept]).pooled()
    channels = mean.shape[0]
    return {
        "channels": channels,
        "mean": float(mean.mean()),
        "between_class_sd": float(between_class_sd(pooled, int(kept.sum())) / np.sqrt(channels)),
        "within_class_sd": float(np.sqrt(pooled.within / channels)),
        "omega_squared": float(omega_squared(pooled)),
    }


def _with_branches(data: Labelled) -> Labelled:
    return data if "branch" in data.dims else data.expand_dims(branch=[0])


def _facts(site: SiteLike) -> dict[str, Any]:
    return {
        "site": site.name,
        "stage": site.stage,
        "block": site.block,
        "activation": site.activation,
        "branches": site.branches,
    }
