"""Claims about depth: class-agnostic early, class-specific late, and more variance within classes later."""

from collections.abc import Sequence

import numpy as np

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.finding import Finding, Verdict, above
from se_probe.analysis.findings.thresholds import (
    AGNOSTIC_SD,
    FEWEST_SITES,
    SMALL_RISE,
    SMALL_SHARE,
    SPECIFIC_SD,
)
from se_probe.analysis.findings.words import limits, listed, names, not_moving, one_stage, too_little_data, undecided
from se_probe.analysis.stats.moments import Floats

SOURCE = 'SENet, "Role of Excitation"'


def class_agnostic_early(evidence: Evidence) -> Finding:
    """Claim 1: class means differ by less than `AGNOSTIC_SD` over the sites of the first half of the stages."""
    key = "class-agnostic-early"
    claim = f"In early stages the gates are nearly the same for all classes ({SOURCE})."
    early = evidence.early
    moving = [site for site in early if site.moves]
    reason = too_little_data(evidence) or one_stage(evidence)
    if reason is None and 2 * len(moving) < len(early):
        reason = not_moving(early)
    if reason is not None:
        return undecided(key, claim, reason, early)
    spread, interval = class_spread(evidence, moving)
    opposite: dict[Verdict, Verdict] = {"supported": "not supported", "not supported": "supported"}
    differ = above(interval, AGNOSTIC_SD)
    statement = (
        f"Class means differ by {spread:.3f} gate units (standard deviation between classes without the noise of the "
        f"means, root mean square over channels; 95 % interval over classes {limits(interval)}) at "
        f"{listed(moving)}; {evidence.classes} classes. Nearly the same means below {AGNOSTIC_SD:g}."
        + _left_out([site for site in early if not site.moves])
    )
    return Finding(key, claim, opposite.get(differ, differ), statement, spread, interval, names(moving))


def class_specific_late(evidence: Evidence) -> Finding:
    """Claim 2: the share of variance between classes rises with depth, and late class means differ measurably."""
    key = "class-specific-late"
    claim = f"With depth the gates become specific to classes ({SOURCE})."
    late = [site for site in evidence.late if site.moves]
    reason = too_little_data(evidence) or one_stage(evidence)
    if reason is None and 2 * len(late) < len(evidence.late):
        reason = not_moving(evidence.late)
    moving = [site for site in evidence.sites if site.moves]
    reason = reason or _too_few_sites(moving)
    if reason is not None:
        return undecided(key, claim, reason, evidence.late)
    shares = np.stack([site.between / (site.between + site.within) for site in moving])
    rise, interval = _rise(evidence, moving, shares)
    spread, reach = class_spread(evidence, late)
    verdicts = above(interval, 0.0, SMALL_SHARE), above(reach, SPECIFIC_SD)
    statement = (
        f"From the first to the last site the share of the gates' variance that lies between classes (ω², corrected "
        f"for bias) changes by {rise:+.2f} (95 % interval over classes {limits(interval, 2)}): {shares[0, 0]:.2f} at "
        f"{moving[0].name}, {shares[-1, 0]:.2f} at {moving[-1].name}, line through {len(moving)} sites. At "
        f"{listed(late)} class means differ by {spread:.3f} gate units ({limits(reach)}); class-specific asks for "
        f"more than {SPECIFIC_SD:g}. {evidence.classes} classes."
    )
    statement += _left_out([site for site in evidence.sites if not site.moves])
    return Finding(key, claim, _both(verdicts), statement, rise, interval, names(moving))


def more_variance_late(evidence: Evidence) -> Finding:
    """Claim 6: the standard deviation over images of a class rises with depth."""
    key = "more-variance-within-classes-late"
    claim = f"Images of the same class differ more in later layers ({SOURCE})."
    sites = [site for site in evidence.sites if site.site.bounded]
    reason = too_little_data(evidence) or one_stage(evidence) or _too_few_sites(sites)
    if reason is None and 2 * sum(site.moves for site in sites) < len(sites):
        reason = not_moving([site for site in sites if not site.moves])
    if reason is not None:
        return undecided(key, claim, reason, evidence.sites)
    spreads = np.sqrt(np.stack([site.within for site in sites]))
    rise, interval = _rise(evidence, sites, spreads)
    widest, narrowest = (sites[int(pick(spreads[:, 0]))] for pick in (np.argmax, np.argmin))
    statement = (
        f"From the first to the last site the standard deviation over images of a class changes by {rise:+.3f} gate "
        f"units (95 % interval over classes {limits(interval)}): {spreads[0, 0]:.3f} at {sites[0].name}, "
        f"{spreads[-1, 0]:.3f} at {sites[-1].name}, line through {len(sites)} sites. It is smallest at "
        f"{narrowest.name} ({spreads[:, 0].min():.3f}) and largest at {widest.name} ({spreads[:, 0].max():.3f})."
    )
    return Finding(key, claim, above(interval, 0.0, SMALL_RISE), statement, rise, interval, names(sites))


def class_spread(evidence: Evidence, sites: Sequence[SiteEvidence]) -> tuple[float, tuple[float, float]]:
    """Standard deviation of true class means in gate units, root mean square over sites, with 95 % limits.

    The limits are made on the scale log(1 + between/total), on which the jackknife's error is nearly the same
    for small and for large variances.
    """
    left = np.r_[evidence.classes, evidence.classes - np.bincount(evidence.groups)]
    # The variance of these K classes about their mean is (K - 1)/K of that of the classes they are drawn from.
    between = np.mean([site.between for site in sites], axis=0) * left / (left - 1)
    total = float(between[0] + np.mean([site.within[0] for site in sites]))
    low, high = evidence.limits(np.log1p(between / total))
    ends = (total * float(np.expm1(end)) for end in (low, high))
    return _root(float(between[0])), (_root(next(ends)), _root(next(ends)))


def _root(variance: float) -> float:
    """An estimated variance below 0 is 0."""
    return float(np.sqrt(max(variance, 0.0)))


def _rise(evidence: Evidence, sites: Sequence[SiteEvidence], values: Floats) -> tuple[float, tuple[float, float]]:
    """Rise of the least-squares line from the network's first site to its last, of values (site, 1 + groups)."""
    depth = np.array([site.depth for site in sites])
    centred = depth - depth.mean()
    slopes = centred @ values / np.sum(centred**2)
    return float(slopes[0]), evidence.limits(slopes)


def _both(verdicts: tuple[Verdict, Verdict]) -> Verdict:
    if "not supported" in verdicts:
        return "not supported"
    return "supported" if set(verdicts) == {"supported"} else "cannot be judged"


def _too_few_sites(sites: Sequence[SiteEvidence]) -> str | None:
    stages = {site.site.stage for site in sites}
    if len(sites) >= FEWEST_SITES and len(stages) > 1:
        return None
    return (
        f"{len(sites)} sites in {len(stages)} stages have bounded gates that depend on the image; a trend needs "
        f"{FEWEST_SITES} in 2 stages."
    )


def _left_out(sites: Sequence[SiteEvidence]) -> str:
    return f" Left out, since the gates are unbounded or hardly move: {listed(sites)}." if sites else ""
