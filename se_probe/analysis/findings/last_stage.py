"""Claims about sites of the last stage: saturation, and one pattern for all classes, up to a modest scale."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence, enough_images
from se_probe.analysis.findings.finding import Finding, above, all_of, below
from se_probe.analysis.findings.sentences import (
    PAPER,
    limits,
    names,
    not_moving,
    one_stage,
    percent,
    too_few_chosen,
    too_few_classes,
)
from se_probe.analysis.findings.thresholds import MODEST_SCALE, MOST_GATES, SIMILAR
from se_probe.analysis.gates import SiteGates, SiteMoments, site_gates, site_moments
from se_probe.analysis.protocols import GateRecording
from se_probe.analysis.stats.intervals import NORMAL, jackknife_limits
from se_probe.analysis.stats.moments import Floats, variance_of_mean
from se_probe.analysis.stats.states import CLOSED, OPEN, STATIC_SD

# A number with its 95 % limits.
Estimate = tuple[float, tuple[float, float]]


def saturated_before_last(evidence: Evidence) -> Finding:
    """Claim 3: most gates of the second-last site of the last stage are open; which site saturates most."""
    last = evidence.last_stage
    claim = Finding(
        "second-last-site-saturates",
        f"The second-last site of the last stage{_as_in_paper(last[-2:-1], 'SE_5_2')} saturates: most of its gates are "
        f"near 1 ({PAPER}).",
        title="The second-last site saturates",
        quantity=f"share of gates of {OPEN:g} or more",
        bar=f"most gates: more than {percent(MOST_GATES)}",
    )
    if len(last) < 2:
        alone = f"The last stage has one site, {last[0].name}; no site is its second-last."
        return claim.undecided(alone, names(last))
    site = last[-2]
    if reason := _no_saturation(site) or too_few_chosen(evidence):
        return claim.undecided(reason, [site.name])
    share, interval = float(site.health["open_share"]), evidence.limits_over_images(site, "open_share")
    judged = (other for other in evidence.sites if _no_saturation(other) is None)
    most = max(judged, key=lambda other: float(other.health["open_share"]) + float(other.health["closed_share"]))
    return replace(
        claim,
        verdict=above(interval, MOST_GATES),
        result=f"{percent(share)} of the gates of {site.name} are near 1, bar {percent(MOST_GATES)}",
        statement=f"At {site.name} {percent(share)} of all gates, over channels and images of the chosen classes, are "
        f"{OPEN:g} or more (95 % interval over images {percent(interval[0])} to {percent(interval[1])}; most are more "
        f"than {percent(MOST_GATES)}) and {percent(site.health['closed_share'])} are {CLOSED:g} or less; the gates of "
        f"{percent(site.still)} of its channels hardly move. The site with most gates near 1 or 0 is "
        f"{most.name}: {percent(most.health['open_share'])} and {percent(most.health['closed_share'])}.",
        value=share,
        interval=interval,
        sites=names([other for other in evidence.sites if other in (site, most)]),
    )


def same_pattern_last(evidence: Evidence, recording: GateRecording) -> Finding:
    """Claim 4: at the last site every class has the pattern of the other classes, up to a modest scale."""
    site = evidence.last_stage[-1]
    claim = Finding(
        "last-site-same-pattern",
        f"At the last site{_as_in_paper([site], 'SE_5_3')} classes share one pattern up to a modest change in scale "
        f"({PAPER}).",
        title="Classes share one pattern at the last site",
        quantity="correlation over channels of a class's true mean gates with those of the other classes",
        bar=f"similar above a correlation of {SIMILAR:g}; a change of scale is modest below a factor of "
        f"{MODEST_SCALE:g}",
    )
    moments = enough_images(site_moments(recording, site.site))
    reason = too_few_classes(evidence) or one_stage(evidence) or _no_saturation(site) or _no_pattern(site, moments)
    if reason is not None:
        return claim.undecided(reason, [site.name])
    given = moments, site_gates(recording, site.site), evidence.groups
    (correlation, interval), (log_scale, log_limits) = pattern_correlation(*given), pattern_scale(*given)
    factor, least, most = np.exp([log_scale, *log_limits])
    return replace(
        claim,
        verdict=all_of([above(interval, SIMILAR), below(log_limits, float(np.log(MODEST_SCALE)))]),
        result=f"correlation {correlation:.2f} ({limits(interval, 2)}), bar {SIMILAR:g}",
        statement=f"At {site.name} the mean gates of a class correlate over channels with those of the other classes "
        f"by {correlation:.2f} (without the noise of the means; {evidence.classes} classes, 95 % interval over "
        f"classes {limits(interval, 2)}; similar above {SIMILAR:g}). 95 % of the classes scale the pattern of "
        f"the others by a factor of {factor:.2f} ({least:.2f} to {most:.2f}) or less, up or down; modest below "
        f"{MODEST_SCALE:g}. The gates of {percent(site.still)} of its channels hardly move.",
        value=correlation,
        interval=interval,
        sites=(site.name,),
    )


def _as_in_paper(sites: list[SiteEvidence], name: str) -> str:
    """Mention the paper's site where it is the one that is judged."""
    return f", {name} as in the paper," if [site.name for site in sites] == [name] else ""


def _no_saturation(site: SiteEvidence) -> str | None:
    if not site.site.bounded:
        return f"Gates are unbounded at {site.name}: no value is the one at which they are fully open."
    if site.site.branches > 1:
        return (
            f"The branches of {site.name} share a sum of one: where one is near 1 the others are near 0, so neither "
            "identity nor a change in scale has a meaning there."
        )
    return None


def _no_pattern(site: SiteEvidence, moments: SiteMoments) -> str | None:
    """Constant gates have one pattern for all classes by construction, and channels that are alike have none."""
    if not site.moves or site.verdict in ("collapsed", "constant"):
        return not_moving([site])
    profile = float(np.std(moments.mean_gate))
    if profile >= STATIC_SD:
        return None
    return (
        f"The mean gates of the channels of {site.name} all lie near {site.mean_gate:.3f} (standard deviation "
        f"{profile:.4f} over channels): there is no pattern that classes could share."
    )


def pattern_correlation(moments: SiteMoments, gates: SiteGates, groups: NDArray[np.int64]) -> Estimate:
    """Correlation over columns of the true means of a class with the mean of the others, and its 95 % limits.

    Means are noisy by s²/n in each column, which pulls correlations towards 0; this is corrected. Images move columns
    together: single gates of the chosen classes show how much noise is left in a pattern as a whole. The limits are for
    another draw of classes. The correlation is at most 1, and NaN where there is no pattern.

    Source: Spearman, The Proof and Measurement of Association between Two Things (1904), with the noise known.
    """
    covariance = pattern_covariance(moments, gates)
    kept = [groups != group for group in range(int(groups.max()) + 1)]
    whole = likeness(covariance)
    low, high = jackknife_limits(whole, np.array([likeness(covariance[np.ix_(keep, keep)]) for keep in kept]), groups)
    return min(whole, 1.0), (low, min(high, 1.0))


def pattern_scale(moments: SiteMoments, gates: SiteGates, groups: NDArray[np.int64]) -> Estimate:
    """Factor within which 95 % of the classes scale the pattern of the others, and its 95 % limits, as logarithms.

    The noise of the means, which pulls scales apart, is corrected for.
    """
    mean, classes = moments.mean, moments.mean.shape[1]
    rest = (mean.sum(axis=1, keepdims=True) - mean) / (classes - 1)
    direction = rest / np.sum(rest**2, axis=0)
    scales = np.sum(mean * direction, axis=0)
    noise = np.mean(np.sum(direction**2 * variance_of_mean(moments.count, moments.m2), axis=0))
    noise *= _design_effect(gates, mean.mean(axis=1))
    variance = np.var(scales, ddof=1)
    left = np.array([np.var(scales[groups != group], ddof=1) for group in range(int(groups.max()) + 1)])
    ends = np.exp(jackknife_limits(float(np.log(variance)), np.log(left), groups))
    value, low, high = (NORMAL * float(np.sqrt(max(end - noise, 0.0))) for end in (variance, *ends))
    return value, (low, high)


def pattern_covariance(moments: SiteMoments, gates: SiteGates) -> Floats:
    """Covariance over columns of the true means of every pair of classes, unbiased: `(class, class)`.

    The noise of two classes is independent; each variance is corrected for its own. Noise that all columns share
    shifts the pattern as a whole and is no part of the variance.
    """
    centred = moments.mean - moments.mean.mean(axis=0)
    noise = np.mean(variance_of_mean(moments.count, moments.m2), axis=0)
    columns = len(moments.mean)
    shared = _design_effect(gates, np.ones(columns)) / columns
    return np.asarray(centred.T @ centred / columns - np.diag(noise * (1 - shared)))


def likeness(covariance: Floats) -> float:
    """Correlation of a class with the mean of the others, from the covariances of all; NaN without a variance.

    It is the root of the share of the classes' variance that lines through the mean of the others explain, so that
    classes count by their variance and a class whose variance is lost in noise does no harm.
    """
    own = np.diag(covariance)
    product = covariance.sum(axis=1) - own
    rest = covariance.sum() - 2 * product - own
    if own.sum() <= 0 or np.any(rest <= 0):
        return float("nan")
    share = float(np.sum(np.sign(product) * product**2 / rest) / own.sum())
    return float(np.sign(share) * abs(share) ** 0.5)


def _design_effect(gates: SiteGates, weights: Floats) -> float:
    """Variance over images of a weighted sum of columns, as a multiple of what independent columns would give.

    Source: Kish, Survey Sampling (1965), section 8.2.
    """
    together, apart = 0.0, 0.0
    for group in gates.groups:
        if len(group) < 2:
            continue
        values = np.asarray(group, dtype=np.float64)
        together += float(np.var(values @ weights, ddof=1))
        apart += float(np.var(values, axis=0, ddof=1) @ weights**2)
    return together / apart if apart > 0 else 1.0
