"""Class specificity of gates: shares of variance, tests, selectivity, and decoding of the class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from se_probe.analysis.gates import (
    SiteGates,
    SiteMoments,
    channel_facts,
    chosen_sites,
    each_site,
    site_facts,
    site_gates,
    site_moments,
)
from se_probe.analysis.protocols import GateRecording, SiteLike
from se_probe.analysis.stats.class_tests import anova_type_test, bootstrap_test, false_discovery
from se_probe.analysis.stats.decoding import FOLDS, REPEATS, decode
from se_probe.analysis.stats.intervals import omega_squared_over_classes, omega_squared_over_images
from se_probe.analysis.stats.moments import Components, Floats, omega_squared
from se_probe.analysis.stats.paired import holm
from se_probe.analysis.stats.selectivity import selectivity, selectivity_by_chance

DISCOVERY_RATE = 0.05
"""False-discovery rate among the channels called class-dependent."""
FEWEST_JUDGED = 0.5
"""Share of a site's channels that must have a p value of `anova_type_test`; with fewer, none is reliable."""


def channel_specificity(
    recording: GateRecording, sites: Sequence[str] | None = None, *, resamples: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Measure the class-specificity of every channel.

    Args:
        recording: the recording.
        sites: names of the sites; None: all.
        resamples: bootstrap resamples.
        seed: seed of the random numbers.

    Returns:
        One row per site, branch and channel. First the facts of `channel_facts` (`between_class_sd`, `within_class_sd`
        in gate units, `state`). Over all classes seen: `omega_squared` with `ci_low` and `ci_high` (another draw of as
        many classes); `f`, `p` and `q` of `anova_type_test` (q: false-discovery adjusted over the site's channels);
        `best_class`; `selectivity` and `d_prime` with their errors and `selectivity_null` and `d_prime_null`, their
        values by chance. Over the images of the chosen classes: `chosen_p` and `chosen_q` of `bootstrap_test`. NaN
        where the data do not suffice.

    Raises:
        SeProbeError: an unknown site.

    Source: `stats.moments`, `stats.intervals`, `stats.class_tests`, `stats.selectivity`.
    """
    return specificity_tables(recording, sites, resamples=resamples, seed=seed)[1]


def site_specificity(
    recording: GateRecording, sites: Sequence[str] | None = None, *, resamples: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Measure the class-specificity of whole sites.

    A share does not show size: read `between_class_sd`, `within_class_sd` and `verdict` with it. K classes drawn at
    random from many have (K − 1)/K of the variance between them, so `omega_squared` and `chosen_omega_squared`, of
    different numbers of classes, are not comparable; compare the latter with `random_omega_squared`.

    Args:
        recording: the recording.
        sites: names of the sites; None: all.
        resamples: bootstrap resamples.
        seed: seed of the random numbers.

    Returns:
        One row per site. After the facts of `site_facts`, over all classes seen: `omega_squared`, the sum over channels
        of the variance between classes over the sum of the total variance, so that a channel counts by how much it
        moves; `ci_low` and `ci_high` for another draw of as many classes and their images; `significant_share`, the
        share of channels that depend on the class with a false-discovery rate of `DISCOVERY_RATE`, among the
        `judged_share` of channels for which `anova_type_test` has a p value (NaN below `FEWEST_JUDGED`).
        Then among the `chosen_classes` alone, with `chosen_images`: `chosen_omega_squared` with `chosen_ci_low` and
        `chosen_ci_high` for another draw of images of these classes (bootstrap over images), `random_omega_squared`,
        what as many classes drawn at random from all seen would have on average, and `chosen_p` of `bootstrap_test`
        with `chosen_p_holm`, adjusted over the sites (Holm).

    Raises:
        SeProbeError: an unknown site.
    """
    return specificity_tables(recording, sites, resamples=resamples, seed=seed)[0]


def specificity_tables(
    recording: GateRecording, sites: Sequence[str] | None = None, *, resamples: int = 999, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`site_specificity` and `channel_specificity` with their arguments; each site is read and tested once for both."""

    def measured(site: SiteLike) -> tuple[dict[str, object], pd.DataFrame]:
        moments, gates = site_moments(recording, site), site_gates(recording, site)
        f, p = anova_type_test(moments)
        chosen = bootstrap_test(gates.groups, resamples=resamples, seed=seed)
        row = _site(moments, gates, p, resamples, seed) | {"chosen_p": chosen.site}
        return row, _channels(moments, f, reliable(p), chosen.channel, seed)

    rows, tables = zip(*each_site(measured, chosen_sites(recording, sites)), strict=True)
    table = pd.DataFrame(list(rows))
    table = table.assign(chosen_p_holm=holm(table["chosen_p"].to_numpy(dtype=np.float64)))
    return table, pd.concat(tables, ignore_index=True)


def reliable(p: Floats) -> Floats:
    """The p values of a site, none where too few of its channels have one."""
    return p if np.mean(np.isfinite(p)) >= FEWEST_JUDGED else np.full_like(p, np.nan)


def _channels(moments: SiteMoments, f: Floats, p: Floats, chosen_p: Floats, seed: int) -> pd.DataFrame:
    share, stands_out = omega_squared_over_classes(moments), selectivity(moments)
    by_chance = selectivity_by_chance(moments, seed=seed)
    return channel_facts(moments).assign(
        omega_squared=share.estimate,
        ci_low=share.low,
        ci_high=share.high,
        f=f,
        p=p,
        q=false_discovery(p),
        chosen_p=chosen_p,
        chosen_q=false_discovery(chosen_p),
        best_class=np.array(moments.names)[stands_out.best],
        selectivity=stands_out.index,
        selectivity_error=stands_out.index_error,
        selectivity_null=by_chance[0],
        d_prime=stands_out.d_prime,
        d_prime_error=stands_out.d_prime_error,
        d_prime_null=by_chance[1],
    )


def _site(moments: SiteMoments, gates: SiteGates, p: Floats, resamples: int, seed: int) -> dict[str, object]:
    share = omega_squared_over_classes(moments, pool=True)
    chosen = omega_squared_over_images(gates.groups, resamples=resamples, seed=seed)
    q = false_discovery(reliable(p))
    known = q[np.isfinite(q)]
    return {
        **site_facts(moments),
        "omega_squared": float(share.estimate),
        "ci_low": float(share.low),
        "ci_high": float(share.high),
        "significant_share": float(np.mean(known <= DISCOVERY_RATE)) if known.size else float("nan"),
        "judged_share": float(np.mean(np.isfinite(p))),
        "chosen_classes": len(gates.names),
        "chosen_images": len(gates.values),
        "chosen_omega_squared": float(chosen.estimate),
        "chosen_ci_low": float(chosen.low),
        "chosen_ci_high": float(chosen.high),
        "random_omega_squared": _of_random_classes(moments, len(gates.names)),
    }


def _of_random_classes(moments: SiteMoments, classes: int) -> float:
    """ω² that `classes` classes drawn at random from those seen would have on average, NaN for one."""
    seen, parts = len(moments.names), moments.components.pooled()
    if min(seen, classes) < 2:
        return float("nan")
    between = parts.between * (1 - 1 / classes) / (1 - 1 / seen)
    return float(omega_squared(Components(np.asarray(between), parts.within)))


def site_decodability(
    recording: GateRecording,
    sites: Sequence[str] | None = None,
    *,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how well a linear classifier decodes the chosen classes from the gates of sites.

    Classification standardises channels, so gates that hardly move count as much as others: read `between_class_sd`,
    `within_class_sd` and `verdict` with it.

    Args:
        recording: the recording.
        sites: names of the sites; None: all.
        folds: folds of the cross-validation.
        repeats: repetitions with other folds.
        seed: seed of the random numbers.

    Returns:
        One row per site. After the facts of `site_facts`: `chosen_classes`, `chosen_images`, `test_folds`; `accuracy`,
        balanced accuracy on images held out, with `ci_low` and `ci_high`, and `chance`. NaN for fewer than two classes,
        or a class with one image.

    Raises:
        SeProbeError: an unknown site.

    Source: `stats.decoding.decode`.
    """

    def measured(site: SiteLike) -> dict[str, object]:
        gates = site_gates(recording, site)
        result = decode(gates.values, gates.labels, folds=folds, repeats=repeats, seed=seed)
        return {
            **site_facts(site_moments(recording, site)),
            "chosen_classes": len(gates.names),
            "chosen_images": len(gates.values),
            "test_folds": len(result.folds),
            "accuracy": result.accuracy,
            "ci_low": result.low,
            "ci_high": result.high,
            "chance": result.chance,
        }

    return pd.DataFrame(each_site(measured, chosen_sites(recording, sites)))
