"""How class-specific gates are: shares of variance, tests and selectivity, by channel and by site."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from se_probe.analysis.each_site import each_site
from se_probe.analysis.gates import (
    GateRecording,
    GateSiteLike,
    SiteGates,
    SiteMoments,
    channel_facts,
    chosen_sites,
    site_facts,
    site_gates,
    site_moments,
)
from se_probe.analysis.stats.intervals import omega_squared_over_classes, omega_squared_over_images
from se_probe.analysis.stats.permutation import PermutationTest, false_discovery, permutation_test
from se_probe.analysis.stats.selectivity import selectivity
from se_probe.analysis.stats.variance import f_test

DISCOVERY_RATE = 0.05
"""Expected share of false ones among the channels called class-dependent."""


def channel_specificity(
    recording: GateRecording, sites: Sequence[str] | None = None, *, permutations: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Class-specificity of every channel of `sites` (None: all).

    Returns one row a site, branch and channel. First the facts of `channel_facts` (`between_class_sd`,
    `within_class_sd` in gate units, `state`). Over all classes seen: `omega_squared` with `ci_low` and `ci_high`
    (another draw of classes), `f`, `p` and `q` (false-discovery adjusted over the site's channels), `best_class`,
    `selectivity`, `d_prime` and their errors. Over the images of the chosen classes: `p_permutation` and
    `q_permutation`. NaN where the data cannot tell.

    Raises:
        SeProbeError: an unknown site.

    Source: the kernels in `kernels.variance`, `kernels.intervals`, `kernels.nulls`, `kernels.selectivity`.
    """

    def measured(site: GateSiteLike) -> pd.DataFrame:
        return _channels(site_moments(recording, site), _chance(site_gates(recording, site), permutations, seed))

    return pd.concat(each_site(measured, chosen_sites(recording, sites)), ignore_index=True)


def site_specificity(
    recording: GateRecording,
    sites: Sequence[str] | None = None,
    *,
    permutations: int = 999,
    resamples: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Class-specificity of `sites` (None: all) as a whole, one row each.

    After the facts of `site_facts`: `omega_squared`, the sum over channels of the variance between classes
    over the sum of the total variance, so that a channel counts by how much it moves; `ci_low` and `ci_high` for
    another draw of classes and their images (jackknife over classes); `significant_share`, the share of channels
    that depend on the class with a false-discovery rate of `DISCOVERY_RATE` (F test). All of these are over
    all classes seen. Then the same share among the chosen classes alone, `chosen_omega_squared` with
    `chosen_ci_low` and `chosen_ci_high` for another draw of images of these classes (bootstrap over images), and
    `chosen_p` of the permutation test. A share tells nothing about size: read `between_class_sd`, `within_class_sd` and
    `verdict` with it.

    Raises:
        SeProbeError: an unknown site.
    """

    def measured(site: GateSiteLike) -> dict[str, object]:
        moments, gates = site_moments(recording, site), site_gates(recording, site)
        return _site(moments, gates, _chance(gates, permutations, seed), resamples, seed)

    return pd.DataFrame(each_site(measured, chosen_sites(recording, sites)))


def specificity_tables(
    recording: GateRecording, *, permutations: int = 999, resamples: int = 999, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`site_specificity` and `channel_specificity` of all sites, which are read and shuffled once for both."""

    def measured(site: GateSiteLike) -> tuple[dict[str, object], pd.DataFrame]:
        moments, gates = site_moments(recording, site), site_gates(recording, site)
        chance = _chance(gates, permutations, seed)
        return _site(moments, gates, chance, resamples, seed), _channels(moments, chance)

    rows, tables = zip(*each_site(measured, recording.sites), strict=True)
    return pd.DataFrame(rows), pd.concat(tables, ignore_index=True)


def _chance(gates: SiteGates, permutations: int, seed: int) -> PermutationTest:
    return permutation_test(gates.values, gates.labels, permutations=permutations, seed=seed)


def _channels(moments: SiteMoments, chance: PermutationTest) -> pd.DataFrame:
    arrays = (moments.count, moments.mean, moments.m2)
    share, stands_out, (f, p) = omega_squared_over_classes(*arrays), selectivity(*arrays), f_test(*arrays)
    return channel_facts(moments).assign(
        omega_squared=share.estimate,
        low=share.low,
        high=share.high,
        f=f,
        p=p,
        q=false_discovery(p),
        p_permutation=chance.channel,
        q_permutation=false_discovery(chance.channel),
        best_class=np.array(moments.names)[stands_out.best],
        selectivity=stands_out.index,
        selectivity_error=stands_out.index_error,
        d_prime=stands_out.d_prime,
        d_prime_error=stands_out.d_prime_error,
    )


def _site(
    moments: SiteMoments, gates: SiteGates, chance: PermutationTest, resamples: int, seed: int
) -> dict[str, object]:
    arrays = (moments.count, moments.mean, moments.m2)
    share = omega_squared_over_classes(*arrays, pool=True)
    chosen = omega_squared_over_images(gates.groups, resamples=resamples, seed=seed)
    q = false_discovery(f_test(*arrays)[1])
    return {
        **site_facts(moments),
        "omega_squared": float(share.estimate),
        "ci_low": float(share.low),
        "ci_high": float(share.high),
        "significant_share": float(np.mean(q <= DISCOVERY_RATE)) if np.isfinite(q).any() else float("nan"),
        "chosen_classes": len(gates.names),
        "chosen_images": len(gates.values),
        "chosen_omega_squared": float(chosen.estimate),
        "chosen_ci_low": float(chosen.low),
        "chosen_ci_high": float(chosen.high),
        "chosen_p": chance.site,
    }
