"""Claims about the last stage: saturation, one pattern for all classes, and whether its gates matter."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis.findings.depth import SOURCE
from se_probe.analysis.findings.evidence import Evidence, SiteEvidence, enough_images
from se_probe.analysis.findings.finding import Finding, Verdict, above
from se_probe.analysis.findings.thresholds import FEWEST_IMAGES, MODEST_SCALE, MOST_GATES, SIMILAR
from se_probe.analysis.findings.words import limits, listed, names, one_stage, percent, too_little_data, undecided
from se_probe.analysis.gates import GateRecording, site_moments
from se_probe.analysis.stats.intervals import CONFIDENCE
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.states import CLOSED, OPEN, STATIC_SD


def saturated_before_last(evidence: Evidence) -> Finding:
    """Claim 3: most gates of the second-last site of the last stage are open; which site saturates most."""
    key = "second-last-site-saturates"
    claim = f"The second-last site, SE_5_2 in the paper, saturates: most of its gates are near 1 ({SOURCE})."
    last = evidence.last_stage
    if len(last) < 2:
        return undecided(key, claim, f"The last stage has one site, {last[0].name}; no site is its second-last.", last)
    site = last[-2]
    reason = _no_saturation(site) or _too_few_chosen(evidence)
    if reason is not None:
        return undecided(key, claim, reason, [site])
    share, error = float(site.health["open_share"]), float(site.health["open_share_error"])
    freedom = sum(evidence.chosen_images) - len(evidence.chosen_images)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    interval = (max(share - reach, 0.0), min(share + reach, 1.0))
    most = max((other for other in evidence.sites if _no_saturation(other) is None), key=_saturated)
    statement = (
        f"At {site.name} {percent(share)} of all gates, over channels and images of the chosen classes, are {OPEN:g} "
        f"or more (95 % interval over images {percent(interval[0])} to {percent(interval[1])}) and "
        f"{percent(site.health['closed_share'])} are {CLOSED:g} or less; the gates of "
        f"{percent(1 - float(site.health['dynamic']))} of its channels hardly move. The site with most gates near 1 or "
        f"0 is {most.name}: {percent(most.health['open_share'])} and {percent(most.health['closed_share'])}."
    )
    return Finding(key, claim, above(interval, MOST_GATES), statement, share, interval, _in_order(evidence, site, most))


def same_pattern_last(evidence: Evidence, recording: GateRecording) -> Finding:
    """Claim 4: at the last site every class has the pattern of the other classes, up to a modest scale."""
    key = "last-site-same-pattern"
    claim = (
        f"At the last site, SE_5_3 in the paper, classes share one pattern up to a modest change in scale ({SOURCE})."
    )
    site = evidence.last_stage[-1]
    reason = too_little_data(evidence) or one_stage(evidence) or _no_saturation(site)
    if reason is not None:
        return undecided(key, claim, reason, [site])
    moments = enough_images(site_moments(recording, site.site))
    profile = float(np.std(moments.mean_gate))
    if profile < STATIC_SD:
        reason = (
            f"The mean gates of the channels of {site.name} all lie near {site.mean_gate:.3f} (standard deviation "
            f"{profile:.4f} over channels): there is no pattern that classes could share."
        )
        return undecided(key, claim, reason, [site])
    alike, scales = pattern_likeness(moments.mean)
    without = likeness_without(moments.mean, evidence.groups)
    low, high = evidence.limits(np.r_[alike.mean(), without])
    interval = (low, min(high, 1.0))
    smallest, largest = np.quantile(scales, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    statement = (
        f"At {site.name} the mean gates of a class correlate over channels with those of the other classes by "
        f"{alike.mean():.2f} (mean of {evidence.classes} classes, 95 % interval over classes {limits(interval, 2)}; "
        f"similar above {SIMILAR:g}); scaling the others' pattern by {smallest:.2f} to {largest:.2f} fits 95 % of the "
        f"classes best (modest between {1 / MODEST_SCALE:.2f} and {MODEST_SCALE:.2f})."
    )
    if site.sd < STATIC_SD:
        statement += f" Its gates hardly depend on the image at all (standard deviation {site.sd:.4f})."
    modest = smallest >= 1 / MODEST_SCALE and largest <= MODEST_SCALE
    verdict: Verdict = above(interval, SIMILAR)
    if verdict == "supported" and not modest:
        verdict = "not supported"
    return Finding(key, claim, verdict, statement, float(alike.mean()), interval, (site.name,))


def last_stage_matters_less(evidence: Evidence) -> Finding:
    """Claim 5: how close the last stage's gates are to constants and to 1; not what removing them would cost."""
    key = "last-stage-matters-less"
    claim = f"The gates of the last stage matter less and can be removed at a marginal loss ({SOURCE})."
    last = evidence.last_stage
    if not all(site.site.bounded for site in last):
        reason = f"Gates are unbounded at {listed(last)}, so that there is no unit in which they are near constant."
        return undecided(key, claim, f"{reason} {_COST}", last)
    earlier = [site for site in evidence.sites if site not in last and site.site.bounded]
    spread = _mean_sd(last)
    if not np.isfinite(spread):
        reason = f"No class has two images, so that nothing shows how much the gates move at {listed(last)}."
        return undecided(key, claim, f"{reason} {_COST}", last)
    each = "; ".join(
        f"{site.name} mean gate {site.mean_gate:.2f}, standard deviation over images {site.sd:.4f}, "
        f"{percent(1 - float(site.health['dynamic']))} of its channels hardly move"
        for site in last
    )
    before = f", against {_mean_sd(earlier):.4f} in earlier stages" if earlier else ""
    statement = (
        f"{_COST} What can be said: a constant in place of each channel's gate would be off by {spread:.4f} gate units "
        f"(root mean square over images) in the last stage{before}. {each}."
    )
    return Finding(key, claim, "cannot be judged", statement, spread, None, names(last))


_COST = "What removing gates costs in accuracy shows only when the network is run without them, not in a recording."


def pattern_likeness(mean: Floats) -> tuple[Floats, Floats]:
    """Correlation of each class's means with the mean of the other classes, and the scale that fits it best.

    `mean` is (column, class). The scale is the slope of the least-squares line through the origin. Noise of the
    means pulls correlations towards 0.
    """
    rest = (mean.sum(axis=1, keepdims=True) - mean) / (mean.shape[1] - 1)
    one, other = mean - mean.mean(axis=0), rest - rest.mean(axis=0)
    correlation = np.sum(one * other, axis=0) / np.sqrt(np.sum(one**2, axis=0) * np.sum(other**2, axis=0))
    return np.asarray(correlation), np.asarray(np.sum(mean * rest, axis=0) / np.sum(rest**2, axis=0))


def likeness_without(mean: Floats, groups: NDArray[np.int64]) -> Floats:
    """Mean over classes of the correlation of `pattern_likeness`, without each group of classes: `(G,)`."""
    member = np.eye(groups.max() + 1)[groups]
    one = mean - mean.mean(axis=0)
    sums = one.sum(axis=1, keepdims=True) - one @ member
    square, product = np.sum(one**2, axis=0)[:, None], one.T @ sums
    other = np.sum(sums**2, axis=0) - 2 * product + square
    return np.asarray(np.mean((product - square) / np.sqrt(square * other), axis=0, where=member == 0))


def _no_saturation(site: SiteEvidence) -> str | None:
    if not site.site.bounded:
        return f"Gates are unbounded at {site.name}: no value is the one at which they are fully open."
    if site.site.branches > 1:
        return (
            f"The branches of {site.name} share a sum of one: where one is near 1 the others are near 0, so neither "
            "identity nor a change in scale has a meaning there."
        )
    return None


def _in_order(evidence: Evidence, *sites: SiteEvidence) -> tuple[str, ...]:
    return names([site for site in evidence.sites if site in sites])


def _too_few_chosen(evidence: Evidence) -> str | None:
    if evidence.chosen_images and min(evidence.chosen_images) >= FEWEST_IMAGES:
        return None
    return (
        f"A chosen class has {min(evidence.chosen_images, default=0)} images, and {FEWEST_IMAGES} are needed; record "
        "more with --per-class."
    )


def _saturated(site: SiteEvidence) -> float:
    return float(site.health["open_share"]) + float(site.health["closed_share"])


def _mean_sd(sites: list[SiteEvidence]) -> float:
    return float(np.sqrt(np.mean([site.sd**2 for site in sites])))
