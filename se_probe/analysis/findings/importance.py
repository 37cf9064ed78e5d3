"""What a recording alone cannot settle: whether the sites with the most class-specific gates also matter more."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.finding import Finding, above
from se_probe.analysis.findings.sentences import SOURCE, limits, names, too_few_classes
from se_probe.analysis.findings.thresholds import FEWEST_RANKED_SITES, SMALL_CORRELATION
from se_probe.analysis.outcomes import NLL, Changes, Cost
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import RESAMPLES, Strata, resampled_deviations
from se_probe.analysis.stats.rank_correlation import jackknife_draws, partial_rank_correlation, rank_correlation

KEY = "specific-sites-matter-more"
REPLACED = {
    "mean": "every gate of it held at its mean",
    "shuffle": "its gates shuffled between images",
    "identity": "every gate of it set to 1",
}
"""Replacements that answer the question, the best first: the mean takes away what depends on the image, and no more."""


def specific_sites_matter_more(evidence: Evidence, changes: Changes) -> Finding | None:
    """Rank correlation over sites of class specificity with the rise of NLL when a site alone is replaced.

    Specificity is measured in both ways, as the standard deviation of true class means and as ω²; they have to agree.
    The limits are for other sites of the kind, and allow for the draw of classes in specificity and of images in NLL.
    None where no site was replaced alone in a way that answers the question.
    """
    alone = {kind: [site for site in evidence.sites if (site.name, kind) in changes.rows] for kind in REPLACED}
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
    sites = [site for site in alone[kind] if site.moves]
    if reason := too_few_classes(evidence) or _too_few(sites, changes):
        return claim.undecided(reason, names(sites))
    units, rows = changes.losses, [changes.rows[site.name, kind] for site in sites]
    units = Strata(tuple(group[:, rows] for group in units.groups), units.resampling_unit)
    redrawn = units.mean + resampled_deviations(units) if units.smallest > 1 else None
    between, within = (np.stack([getattr(site, part) for site in sites], axis=1) for part in ("between", "within"))
    measures = {"the spread between class means": between, "ω²": between / (between + within)}
    found = [
        rank_correlation(values[0], units.mean, jackknife_draws(values[0], values[1:], RESAMPLES), redrawn)
        for values in measures.values()
    ]
    spread, share = found
    verdicts = {above((one.low, one.high), SMALL_CORRELATION) for one in found}
    shown = [f"{one.value:.2f} ({limits((one.low, one.high), 2)})" for one in found]
    return replace(
        claim,
        verdict=verdicts.pop() if len(verdicts) == 1 else "cannot be judged",
        result=f"rank correlation {shown[0]}, {share.value:.2f} with ω², bar {SMALL_CORRELATION:g}",
        statement=_statement(
            changes.cost, sites, units.mean, {name: values[0] for name, values in measures.items()}, shown
        ),
        value=spread.value,
        interval=(spread.low, spread.high),
        sites=names(sites),
    )


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


def _statement(
    cost: Cost, sites: Sequence[SiteEvidence], rise: Floats, measures: dict[str, Floats], shown: Sequence[str]
) -> str:
    depth = np.array([site.depth for site in sites])
    pairs = [f"{name} by {correlation}" for name, correlation in zip(measures, shown, strict=True)]
    fixed = [f"{partial_rank_correlation(values, rise, depth):.2f}" for values in measures.values()]
    costly, specific = sites[int(np.argmax(rise))], sites[int(np.argmax(next(iter(measures.values()))))]
    amount = f"{rise.max():+.3f} nats" if cost == NLL else f"{rise.max():+.4g} {cost.unit}".rstrip()
    return (
        f"Over {len(sites)} sites the {cost.loss} correlates in rank with {' and with '.join(pairs)} (Spearman, 95 % "
        f"interval for other sites; counts above {SMALL_CORRELATION:g}); with depth held fixed by "
        f"{' and '.join(fixed)}. {costly.name} costs most "
        f"({amount}), the class means of {specific.name} differ most. A correlation over sites is no "
        "proof that specificity is what costs."
    )
