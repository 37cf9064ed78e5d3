"""The health of gates: state of channels and sites, entropy over branches, effective rank."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.gates import (
    SiteGates,
    channel_facts,
    chosen_sites,
    each_site,
    site_facts,
    site_gates,
    site_moments,
    total_sd,
)
from se_probe.analysis.protocols import GateRecording, GateSiteLike
from se_probe.analysis.stats.moments import Floats, equal_weight_mean, equal_weight_standard_error
from se_probe.analysis.stats.states import CLOSED, OPEN, STATES, branch_entropy, effective_rank


def channel_health(recording: GateRecording, sites: Sequence[str] | None = None) -> pd.DataFrame:
    """Measure the state of every channel of `sites` (None: all).

    Returns:
        One row a site, branch and channel: the facts of `channel_facts`, with `state`; `mean_gate`, the mean gate,
        and `sd` over images, both over all classes seen with equal weights; over the images of the chosen classes
        `open_share` and `closed_share`, the shares with a gate of `OPEN` or more and `CLOSED` or less (NaN where
        gates are not bounded), and `entropy` of the attention over branches (NaN without softmax).

    Raises:
        SeProbeError: an unknown site.
    """
    tables = each_site(partial(_channels, recording), chosen_sites(recording, sites))
    return pd.concat(tables, ignore_index=True)


def site_health(recording: GateRecording, sites: Sequence[str] | None = None) -> pd.DataFrame:
    """Measure the state of `sites` (None: all), one row each.

    After the facts of `site_facts`, with `verdict`: `mean_gate`, mean gate over channels; `sd` over images, root
    mean square over channels; `dynamic`, `open`, `closed`, `constant`, the shares of channels in each state
    ("closed" are the dead ones). Over the images of the chosen classes, with equal weights for classes and
    standard errors over images: `open_share` and `closed_share` of all gates, `entropy` over branches. Last
    `effective_rank` of the gates of these images and the highest it could be, `effective_rank_limit`.

    Raises:
        SeProbeError: an unknown site.

    Source: `stats.states`.
    """
    return pd.DataFrame(each_site(partial(_site, recording), chosen_sites(recording, sites)))


def _channels(recording: GateRecording, site: GateSiteLike) -> pd.DataFrame:
    moments, gates = site_moments(recording, site), site_gates(recording, site)
    opened, closed = _saturated(site, gates)
    return channel_facts(moments).assign(
        mean_gate=moments.mean_gate,
        sd=total_sd(moments.components),
        open_share=_over_images(gates, opened),
        closed_share=_over_images(gates, closed),
        entropy=np.tile(_over_images(gates, _entropy(site, gates)), site.branches),
    )


def _site(recording: GateRecording, site: GateSiteLike) -> dict[str, object]:
    moments, gates = site_moments(recording, site), site_gates(recording, site)
    opened, closed = _saturated(site, gates)
    row: dict[str, object] = {
        **site_facts(moments),
        "mean_gate": float(moments.mean_gate.mean()),
        "sd": float(np.sqrt(np.mean(total_sd(moments.components) ** 2))),
        **{state: float(np.mean(moments.states == state)) for state in STATES},
    }
    for name, values in (("open_share", opened), ("closed_share", closed), ("entropy", _entropy(site, gates))):
        row[name], row[f"{name}_error"] = _mean_and_error(gates, values.mean(axis=1))
    row["effective_rank"] = effective_rank(gates.values)
    row["effective_rank_limit"] = min(len(gates.values) - 1, gates.values.shape[1])
    return row


def _saturated(site: GateSiteLike, gates: SiteGates) -> tuple[Floats, Floats]:
    if not site.bounded:
        return np.full(gates.values.shape, np.nan), np.full(gates.values.shape, np.nan)
    return (gates.values >= OPEN).astype(np.float64), (gates.values <= CLOSED).astype(np.float64)


def _entropy(site: GateSiteLike, gates: SiteGates) -> Floats:
    if site.branches == 1 or not site.activation.startswith("softmax"):
        return np.full((len(gates.values), site.channels), np.nan)
    return branch_entropy(gates.values.reshape(-1, site.branches, site.channels))


def _over_images(gates: SiteGates, values: Floats) -> Floats:
    """Mean of each column over images, classes with equal weights."""
    means = [values[gates.labels == place].mean(axis=0) for place in range(len(gates.names))]
    return equal_weight_mean(np.stack(means, axis=-1))


def _mean_and_error(gates: SiteGates, values: Floats) -> tuple[float, float]:
    groups: list[NDArray[np.float64]] = [values[gates.labels == place] for place in range(len(gates.names))]
    m2 = [np.sum((group - group.mean()) ** 2) for group in groups]
    error = equal_weight_standard_error([len(group) for group in groups], m2)
    return float(np.mean([group.mean() for group in groups])), float(error)
