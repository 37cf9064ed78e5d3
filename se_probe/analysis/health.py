"""Health of gates: states of channels and sites, entropy over branches, effective rank."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from se_probe.analysis.gates import (
    SiteGates,
    channel_facts,
    chosen_sites,
    competes,
    each_site,
    site_facts,
    site_gates,
    site_moments,
)
from se_probe.analysis.protocols import GateRecording, SiteLike
from se_probe.analysis.stats.moments import Floats, equal_weight_standard_error
from se_probe.analysis.stats.states import CLOSED, OPEN, STATES, branch_entropy, effective_rank


def channel_health(recording: GateRecording, sites: Sequence[str] | None = None) -> pd.DataFrame:
    """Measure the state of every channel of `sites` (None: all).

    Returns:
        One row per site, branch and channel: the facts of `channel_facts`, with `state`; `mean_gate` and `sd` over
        images, of all classes seen with equal weights; over the images of the chosen classes `open_share` and
        `closed_share`, the shares with a gate of at least `OPEN` and at most `CLOSED` (NaN for unbounded gates), and
        `entropy` of the attention over branches (NaN without softmax).

    Raises:
        SeProbeError: an unknown site.
    """
    tables = each_site(partial(_channels, recording), chosen_sites(recording, sites))
    return pd.concat(tables, ignore_index=True)


def site_health(recording: GateRecording, sites: Sequence[str] | None = None) -> pd.DataFrame:
    """Measure the state of `sites` (None: all).

    Returns:
        One row per site. After the facts of `site_facts`, with `verdict`: `mean_gate`, mean gate over channels; `sd`
        over images, root mean square over channels; `dynamic`, `open`, `closed`, `constant`, the shares of channels in
        each state ("closed" are the dead ones). Over the images of the chosen classes, with equal weights for classes
        and standard errors over images: `open_share` and `closed_share` of all gates, `entropy` over branches. Last
        `effective_rank` of the gates of these images and the highest it could be, `effective_rank_limit`.

    Raises:
        SeProbeError: an unknown site.

    Source: `stats.states`.
    """
    return pd.DataFrame(each_site(partial(_site, recording), chosen_sites(recording, sites)))


def _channels(recording: GateRecording, site: SiteLike) -> pd.DataFrame:
    moments, gates = site_moments(recording, site), site_gates(recording, site)
    shares = {
        name: np.mean([group.mean(axis=0) for group in gates.by_class(values)], axis=0)
        for name, values in _by_image(site, gates).items()
    }
    shares["entropy"] = np.tile(shares["entropy"], site.branches)
    return channel_facts(moments).assign(mean_gate=moments.mean_gate, sd=moments.total_sd, **shares)


def _site(recording: GateRecording, site: SiteLike) -> dict[str, object]:
    moments, gates = site_moments(recording, site), site_gates(recording, site)
    row: dict[str, object] = {
        **site_facts(moments),
        "mean_gate": float(moments.mean_gate.mean()),
        "sd": float(np.sqrt(np.mean(moments.total_sd**2))),
        **{state: float(np.mean(moments.states == state)) for state in STATES},
    }
    for name, values in _by_image(site, gates).items():
        groups = gates.by_class(values.mean(axis=1))
        m2 = [np.sum((group - group.mean()) ** 2) for group in groups]
        row[name] = float(np.mean([group.mean() for group in groups]))
        row[f"{name}_error"] = float(equal_weight_standard_error([len(group) for group in groups], m2))
    row["effective_rank"] = effective_rank(gates.values)
    row["effective_rank_limit"] = min(len(gates.values) - 1, gates.values.shape[1])
    return row


def _by_image(site: SiteLike, gates: SiteGates) -> dict[str, Floats]:
    """Open and closed gates of each image, `(image, column)`, and its entropy, `(image, channel)`."""
    values = gates.values
    entropy = np.full((len(values), site.channels), np.nan)
    if competes(site):
        entropy = branch_entropy(values.reshape(-1, site.branches, site.channels))
    saturated = (np.where(site.bounded, own, np.nan) for own in (values >= OPEN, values <= CLOSED))
    return dict(zip(("open_share", "closed_share", "entropy"), (*saturated, entropy), strict=True))
