"""Whether more class-specific gates matter more: over sites, from interventions; over channels, from effects."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from se_probe.analysis.effects import AGREEMENT, OF_SITES, OVERALL
from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.finding import Finding, above, all_of
from se_probe.analysis.findings.sentences import SOURCE, limits, names, too_few_classes
from se_probe.analysis.findings.thresholds import FEWEST_RANKED_SITES, SMALL_CORRELATION
from se_probe.analysis.outcomes import NLL, Changes, Cost
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import RESAMPLES, Strata, resampled_deviations
from se_probe.analysis.stats.rank_correlation import jackknife_draws, partial_rank_correlation, rank_correlation

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
        "specific-sites-matter-more",
        f"Sites with more class-specific gates matter more ({SOURCE}): here each site alone with {REPLACED[kind]}.",
        title="Sites with more class-specific gates matter more",
        quantity=f"rank correlation over sites of the spread between class means with the {changes.cost.loss}",
        bar=f"a rank correlation counts above {SMALL_CORRELATION:g}",
    )
    sites = [site for site in alone[kind] if site.moves]
    if reason := too_few_classes(evidence) or _too_few(sites, changes):
        return claim.undecided(reason, names(sites))
    rows = [changes.rows[site.name, kind] for site in sites]
    units = Strata(tuple(group[:, rows] for group in changes.losses.groups), changes.losses.resampling_unit)
    redrawn = units.mean + resampled_deviations(units) if units.smallest > 1 else None
    between, within = (np.stack([getattr(site, part) for site in sites], axis=1) for part in ("between", "within"))
    spread, share = (
        rank_correlation(values[0], units.mean, jackknife_draws(values[0], values[1:], RESAMPLES), redrawn)
        for values in (between, between / (between + within))
    )
    verdicts = {above((one.low, one.high), SMALL_CORRELATION) for one in (spread, share)}
    shown = [f"{one.value:.2f} ({limits((one.low, one.high), 2)})" for one in (spread, share)]
    return replace(
        claim,
        verdict=verdicts.pop() if len(verdicts) == 1 else "cannot be judged",
        result=f"rank correlation {shown[0]}, {share.value:.2f} with ω², bar {SMALL_CORRELATION:g}",
        statement=_statement(changes.cost, sites, units.mean, shown),
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


def _statement(cost: Cost, sites: Sequence[SiteEvidence], rise: Floats, shown: Sequence[str]) -> str:
    depth = np.array([site.depth for site in sites])
    between = np.array([site.between[0] for site in sites])
    within = np.array([site.within[0] for site in sites])
    fixed = [partial_rank_correlation(values, rise, depth) for values in (between, between / (between + within))]
    costly, specific = sites[int(np.argmax(rise))], sites[int(np.argmax(between))]
    amount = f"{rise.max():+.3f} nats" if cost == NLL else f"{rise.max():+.4g} {cost.unit}".rstrip()
    return (
        f"Over {len(sites)} sites the {cost.loss} correlates in rank with the spread between class means by {shown[0]} "
        f"and with ω² by {shown[1]} (Spearman, 95 % interval for other sites; counts above {SMALL_CORRELATION:g}); "
        f"with depth held fixed by {fixed[0]:.2f} and {fixed[1]:.2f}. {costly.name} costs most ({amount}), the class "
        f"means of {specific.name} differ most. A correlation over sites is no proof that specificity is what costs."
    )


def selective_channels_matter_more(tables: Mapping[str, pd.DataFrame]) -> Finding | None:
    """Rank correlation over channels of class selectivity with the size of the effect on the answer, mean over sites.

    A gate that moves more has a larger effect, selective or not: the claim stands only if the correlation counts with
    the gate's spread held fixed, too. None where effects were not recorded.

    Source: Morcos et al., On the importance of single directions for generalization, ICLR 2018.
    """
    if AGREEMENT not in tables:
        return None
    claim = Finding(
        "selective-channels-matter-more",
        "Channels with more class-selective gates matter more for the answer (Morcos et al. 2018 found that they do "
        "not): here by the first-order effect of each channel's gate.",
        title="Channels with more class-selective gates matter more",
        quantity="rank correlation over the channels of a site of ω² with the size of the effect, mean over sites",
        bar=f"a rank correlation counts above {SMALL_CORRELATION:g}",
    )
    if OVERALL not in tables:
        return claim.undecided("First-order effects agree with exact replacement at no site; they are not used.")
    row, sites = tables[OVERALL].iloc[0], tables[OF_SITES]["site"]
    plain = float(row["ci_low"]), float(row["ci_high"])
    partial = float(row["partial_ci_low"]), float(row["partial_ci_high"])
    unused = len(tables[AGREEMENT]) - len(sites)
    over = f"{int(row['channels']):,} channels of {len(sites)} sites{f', {unused} left out' if unused else ''}"
    return replace(
        claim,
        verdict=all_of(above(interval, SMALL_CORRELATION) for interval in (plain, partial)),
        result=f"rank correlation {row['correlation']:.2f} ({limits(plain, 2)}), {row['partial']:.2f} "
        f"({limits(partial, 2)}) with the gate's spread held fixed, bar {SMALL_CORRELATION:g}",
        statement=(
            f"Over {over} the size of the effect correlates in rank with ω² by {row['correlation']:.2f} "
            f"({limits(plain, 2)}; Spearman, mean over sites, 95 % interval for other classes, which are left out for "
            f"all channels at once), and by {row['partial']:.2f} "
            f"({limits(partial, 2)}) with the standard deviation of the gate held fixed: an effect is in proportion to "
            f"how far the gate moves. Half of the effect is carried by {100 * row['half_share']:.0f} % of the channels "
            "of a site (median)."
        ),
        value=float(row["correlation"]),
        interval=plain,
        sites=tuple(str(site) for site in sites),
    )
