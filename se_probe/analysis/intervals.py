"""Class-conditional means of the chosen classes with bootstrap intervals."""

from collections.abc import Sequence

import pandas as pd

from se_probe.analysis.each_site import each_site
from se_probe.analysis.gates import GateRecording, GateSiteLike, channel_facts, chosen_sites, site_gates, site_moments
from se_probe.analysis.stats.intervals import mean_interval


def class_mean_intervals(
    recording: GateRecording, sites: Sequence[str] | None = None, *, resamples: int = 1999, seed: int = 0
) -> pd.DataFrame:
    """Mean gate of every channel of `sites` (None: all) for each chosen class, with its interval.

    Returns one row a site, class, branch and channel: `count` images, `mean`, and `low` and `high`, the 95 %
    BCa bootstrap limits for another draw of images of the class (NaN for a single image).

    Raises:
        SeProbeError: an unknown site.

    Source: `kernels.intervals.mean_interval`.
    """
    tables = each_site(lambda site: _table(recording, site, resamples, seed), chosen_sites(recording, sites))
    return pd.concat(tables, ignore_index=True)


def _table(recording: GateRecording, site: GateSiteLike, resamples: int, seed: int) -> pd.DataFrame:
    gates = site_gates(recording, site)
    places = channel_facts(site_moments(recording, site))[["site", "branch", "channel"]]
    tables = []
    for name, group in zip(gates.names, gates.groups, strict=True):
        mean = mean_interval(group, resamples=resamples, seed=seed)
        table = places.assign(count=len(group), mean=mean.estimate, low=mean.low, high=mean.high)
        table.insert(1, "class", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
