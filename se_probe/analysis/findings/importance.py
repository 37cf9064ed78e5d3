"""What a recording alone cannot settle: whether the sites with the most class-specific gates also matter more."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.finding import Finding, Verdict, above
from se_probe.analysis.findings.health import SOURCE
from se_probe.analysis.findings.sentences import limits, names, too_few_classes
from se_probe.analysis.findings.thresholds import FEWEST_RANKED_SITES, SMALL_CORRELATION
from se_probe.analysis.outcomes import NLL, Changes, Cost
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import RESAMPLES, Strata, resampled_deviations
from se_probe.analysis.stats.rank_correlation import (
    RankCorrelation,
    jackknife_draws,
    partial_rank_correlation,
    rank_correlation,
)

KEY = "specific-sites-matter-more"
REPLACED = {
    "mean": "every gate of it held at its mean",
    "shuffle": "its gates shuffled between images",
    "identity": "every gate of it set to 1",
}
"""Replacements that answer the question, the best first: the mean takes away what depends on the image, and no more."""


def specific_sites_matter_more(evidence: Evidence, changes: Changes) -> Finding | None:
    """Rank correlation over sites of class specificity with the rise of NLL when a site alone is replaced.

    One's own measure has its loss in the place of the rise of NLL.

    Specificity is measured in both ways, as the standard deviation of true class means and as ω²; they have to agree.
    The limits are for other sites of the kind, and allow for the draw of classes in specificity and of images in NLL.
    None where no site was replaced alone in a way that answers the question.
    """
    alone = {kind: _alone(evidence, changes, kind) for kind in REPLACED}
    kind = max(REPLACED, key=lambda name: len(alone[name]))
    if not alone[kind]:
        return None
    claim = Finding(
        KEY,
        f"Sites with more class-specific gates matter more ({SOURCE}): here each site alone with {REPLACED[kind]}.",
        title="Sites with more class-specific gates matter more",
        quantity=f"rank correlation over sites of the spread between class means with the {changes.cost.loss}",
        bar=f"a rank correlation counts above {SMALL_CORRELATION:g}",
    )
    sites = [site for site in evidence.sites if site.name in alone[kind] and site.moves]
    reason = too_few_classes(evidence) or _too_few(sites, changes)
    if reason is not None:
        return claim.undecided(reason, names(sites))
    units = _columns(changes.losses, [alone[kind][site.name] for site in sites])
    found = _correlations(sites, units)
    spread, share = found.values()
    return replace(
        claim,
        verdict=_verdict([spread, share]),
        result=f"rank correlation {spread.value:.2f} ({limits((spread.low, spread.high), 2)}), {share.value:.2f} with "
        f"ω², bar {SMALL_CORRELATION:g}",
        statement=_statement(sites, units.mean, found, changes.cost),
        value=spread.value,
        interval=(spread.low, spread.high),
        sites=names(sites),
    )


def _specificity(sites: Sequence[SiteEvidence]) -> dict[str, Floats]:
    """Both measures of specificity, `(1 + groups, site)`: with all classes, then without each group."""
    between, within = (np.stack([getattr(site, part) for site in sites], axis=1) for part in ("between", "within"))
    return {"the spread between class means": between, "ω²": between / (between + within)}


def _correlations(sites: Sequence[SiteEvidence], rises: Strata) -> dict[str, RankCorrelation]:
    """Of either measure of specificity with the rise of NLL."""
    rise = rises.mean
    redrawn = rise + resampled_deviations(rises) if min(map(len, rises.groups)) > 1 else None
    return {
        words: rank_correlation(values[0], rise, jackknife_draws(values[0], values[1:], RESAMPLES), redrawn)
        for words, values in _specificity(sites).items()
    }


def _alone(evidence: Evidence, changes: Changes, kind: str) -> dict[str, int]:
    """The intervention that replaces each site alone, by the site."""
    known = {site.name for site in evidence.sites}
    pairs = zip(changes.interventions["sites"], changes.interventions["replacement"], strict=True)
    return {sites: row for row, (sites, other) in enumerate(pairs) if other == kind and sites in known}


def _too_few(sites: Sequence[SiteEvidence], changes: Changes) -> str | None:
    if not changes.labelled.any():
        if changes.cost != NLL:
            return f"No image was measured by {changes.cost.name}."
        return "The network has no unit for the class of any image, so that there is no NLL."
    if len(sites) >= FEWEST_RANKED_SITES:
        return None
    return (
        f"{len(sites)} sites were replaced alone and have bounded gates that depend on the image; the order of fewer "
        f"than {FEWEST_RANKED_SITES} says nothing about others."
    )


def _columns(units: Strata, columns: Sequence[int]) -> Strata:
    return Strata(tuple(group[:, list(columns)] for group in units.groups), units.resampling_unit)


def _verdict(found: Sequence[RankCorrelation]) -> Verdict:
    verdicts = {above((one.low, one.high), SMALL_CORRELATION) for one in found}
    return verdicts.pop() if len(verdicts) == 1 else "cannot be judged"


def _statement(sites: Sequence[SiteEvidence], rise: Floats, found: Mapping[str, RankCorrelation], cost: Cost) -> str:
    depth, specificity = np.array([site.depth for site in sites]), _specificity(sites)
    pairs = [f"{words} by {one.value:.2f} ({limits((one.low, one.high), 2)})" for words, one in found.items()]
    fixed = [f"{partial_rank_correlation(values[0], rise, depth):.2f}" for values in specificity.values()]
    costly = sites[int(np.argmax(rise))]
    specific = sites[int(np.argmax(next(iter(specificity.values()))[0]))]
    return (
        f"Over {len(sites)} sites the {cost.loss} correlates in rank with {' and with '.join(pairs)} (Spearman, 95 % "
        f"interval for other sites; counts above {SMALL_CORRELATION:g}); with depth held fixed by "
        f"{' and '.join(fixed)}. {costly.name} costs most "
        f"({_amount(rise.max(), cost)}), the class means of {specific.name} differ most. A correlation over sites is "
        "no proof that specificity is what costs."
    )


def _amount(loss: float, cost: Cost) -> str:
    return f"{loss:+.3f} nats" if cost == NLL else f"{loss:+.4g} {cost.unit}".rstrip()
