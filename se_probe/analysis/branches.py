"""Competing branches: attention and its entropy, and class dependence by cardinal group.

Source: Zhang et al., ResNeSt: Split-Attention Networks, arXiv 2004.08955.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from se_probe.analysis.gates import class_moments, class_spreads, competes, place_of, site_gates
from se_probe.analysis.protocols import GateRecording, RecordingLike, SiteLike
from se_probe.analysis.stats.moments import Components, Floats, equal_weight_mean, omega_squared, sample_variance
from se_probe.analysis.stats.states import branch_entropy
from se_probe.errors import SeProbeError


def split_attention(recording: RecordingLike) -> pd.DataFrame:
    """Mean attention of every branch (radix split) of every site, over all classes with equal weights.

    One row per site and branch: `site`, `stage`, `block`, `activation`, `branches`, `branch`; `mean` over classes and
    channels; `channel_sd`, the unbiased standard deviation between the means of channels; `between_class_sd` as in all
    tables. A softmax over R branches has the mean 1/R over them.
    """
    rows = []
    for site in recording.sites:
        for branch, _, means, dependence in _groups(recording, site, 1):
            channels = equal_weight_mean(means)
            numbers = {"mean": float(channels.mean()), "channel_sd": float(np.sqrt(sample_variance(channels)))}
            between = dependence["between_class_sd"]
            rows.append({**_facts(site), "branch": branch, **numbers, "between_class_sd": between})
    return pd.DataFrame(rows)


def split_entropy(recording: GateRecording) -> pd.DataFrame:
    """Entropy of the attention over branches of every site, over images of the chosen classes.

    One row per site: `site`, `stage`, `block`, `activation`, `branches`; `entropy`, over log R, mean over images and
    channels with equal weights for classes (1: even, 0: one branch has all); `entropy_sd`, the standard deviation of an
    image's mean; `entropy_of_mean`, that of the mean attention over images, which is higher where the choice depends on
    the image. NaN where branches do not compete.
    """
    rows = []
    for site in recording.sites:
        numbers = dict.fromkeys(("entropy", "entropy_sd", "entropy_of_mean"), np.nan)
        if competes(site):
            gates = site_gates(recording, site)
            shares = gates.values.reshape(-1, site.branches, site.channels)
            by_image = branch_entropy(shares).mean(axis=1)
            mean = np.mean([group.mean(axis=0, dtype=np.float64) for group in gates.by_class(shares)], axis=0)
            numbers["entropy"] = float(np.mean([group.mean() for group in gates.by_class(by_image)]))
            numbers["entropy_sd"] = float(np.sqrt(sample_variance(by_image)))
            numbers["entropy_of_mean"] = float(branch_entropy(mean[None]).mean())
        rows.append({**_facts(site), **numbers})
    return pd.DataFrame(rows)


def cardinal_groups(recording: RecordingLike, cardinality: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Class dependence of the gates of every cardinal group, from the moments of every class seen.

    `cardinality` gives the number K of groups of each site, whose channels are group by group. Other sites are one
    group, with `groups_known` False.

    One row per site, branch and group: `site`, `stage`, `block`, `activation`, `branches`, `branch`, `group`, `groups`,
    `groups_known`, `channels`, `mean`; `between_class_sd` and `within_class_sd`, as in all tables; `omega_squared`, the
    share of the variance that lies between classes, pooled over channels. Spreads and shares are those of the classes
    with two images or more.

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
        for branch, group, _, dependence in _groups(recording, site, groups):
            facts = {"branch": branch, "group": group, "groups": groups, "groups_known": site.name in known}
            rows.append({**_facts(site), **facts, **dependence})
    return pd.DataFrame(rows)


def has_branches(recording: RecordingLike) -> bool:
    """Return whether a recording has sites with branches, or of split attention with a single one."""
    return any(site.branches > 1 or site.family == "split attention" for site in recording.sites)


def branch_tables(recording: GateRecording, cardinality: Mapping[str, int] | None = None) -> dict[str, pd.DataFrame]:
    """Return the tables of branches by the names of their files; `cardinality` as in `cardinal_groups`.

    Raises:
        SeProbeError: as `cardinal_groups`.
    """
    return {
        "split_attention.csv": split_attention(recording),
        "split_entropy.csv": split_entropy(recording),
        "cardinal_groups.csv": cardinal_groups(recording, cardinality),
    }


def _groups(
    recording: RecordingLike, site: SiteLike, groups: int
) -> Iterator[tuple[int, int, Floats, dict[str, object]]]:
    """Branch and group, the means (channel, class) of its channels, and how they depend on the class."""
    moments = class_moments(recording, site)
    several = moments.several()
    columns = np.arange(len(moments.mean)).reshape(site.branches, groups, -1)
    for branch, group in np.ndindex(site.branches, groups):
        own = columns[branch, group]
        means = moments.mean[own]
        parts = Components(several.components.between[own], several.components.within[own])
        dependence: dict[str, object] = {
            "channels": len(means),
            "mean": float(means.mean()),
            **class_spreads(parts, len(several.names)),
            "omega_squared": float(omega_squared(parts.pooled())),
        }
        yield branch, group, means, dependence


def _facts(site: SiteLike) -> dict[str, object]:
    return {**place_of(site), "activation": site.activation, "branches": site.branches}
