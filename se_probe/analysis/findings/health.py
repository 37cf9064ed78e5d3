"""What users ask about their gates: why they are all alike, dead, constant, or even over branches."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.finding import Finding, Verdict, above, all_of, below
from se_probe.analysis.findings.sentences import (
    MOST_NAMES,
    left_out,
    limits,
    listed,
    names,
    percent,
    span,
    too_few_chosen,
    too_few_images,
)
from se_probe.analysis.findings.thresholds import EVEN_ENTROPY, FEWEST_CLASSES, ONE_BRANCH_ENTROPY
from se_probe.analysis.stats.intervals import CONFIDENCE
from se_probe.analysis.stats.states import CLOSED, MOST, OPEN, STATIC_SD

SOURCE = "a question of users"
MOST_SITES = 3
MORE_CLASSES = "excite --reference-per-class 50"
UNBOUNDED = "All gates are unbounded, so that there is no unit in which to say how much they move."

_KINDS = {
    "collapsed": (
        "have collapsed",
        "most channels there are scaled by one and the same constant (mean gate {})",
        "most channels are scaled by one and the same constant; a sigmoid gives 0.5 where what computes the gate "
        "returns 0 for every image, another constant where only its bias is left",
    ),
    "saturated": (
        "are saturated",
        "most channels there stay fully open or closed",
        f"most channels stay where they are, mainly at {OPEN:g} or more or {CLOSED:g} or less",
    ),
    "constant": (
        "are constant",
        "most channels there keep a fixed scale",
        "most channels have a fixed scale of their own",
    ),
}
"""States of sites that are not live, the worst first: as a predicate, what it means, and what more there is to say."""
WEIGHT_DECAY = (
    "Weight decay on the layers of the excitation is a known cause: it pulls their weights to 0. Train without it "
    "there; the gates of this network can be folded into neighbouring layers."
)


def gates_alive(evidence: Evidence) -> Finding:
    """Whether gates are collapsed, saturated or constant: "why are all my gates 0.5 (0.65, only 0 and 1)?"."""
    bounded = [site for site in evidence.sites if site.site.bounded]
    claim = Finding(
        "gates-alive",
        f'The gates depend on the image at every site ("why are all my gates 0.5?", {SOURCE}).',
        title="Live sites",
        quantity="share of sites that are live",
        bar=f"live: more than {percent(1 - MOST)} of the channels move by {STATIC_SD:g} or more over images",
    )
    reason = too_few_images(evidence) or (None if bounded else UNBOUNDED)
    if reason is not None:
        news = f"Whether the gates depend on the image cannot be judged: {reason[0].lower()}{reason[1:]}"
        return claim.undecided(reason, names(evidence.sites), news=news)
    live, still, unsure = _by_verdict(bounded)
    kinds = _by_kind(still)
    least = min(bounded, key=lambda site: site.sd)
    statement = (
        f"{len(live)} of {len(bounded)} sites are live: more than {percent(1 - MOST)} of the channels of each have "
        f"gates with a standard deviation over images of {STATIC_SD:g} or more. {least.name} moves least, by "
        f"{least.sd:.4f}."
    )
    statement += "".join(_told(kind, sites) for kind, sites in kinds.items())
    statement += f" {_unsettled(evidence, unsure)}" if unsure else ""
    statement += left_out([site for site in evidence.sites if not site.site.bounded])
    few_classes = evidence.moving_classes < FEWEST_CLASSES
    parts = [f"{kind}: {listed(sites)}" for kind, sites in (kinds | ({"open": unsure} if unsure else {})).items()]
    return replace(
        claim,
        verdict=all_of(_live(site) for site in bounded),
        result="; ".join([f"{len(live)} of {len(bounded)}", *parts]),
        statement=statement,
        value=len(live) / len(bounded),
        sites=names(still or unsure or bounded),
        news=_news(bounded, kinds) if still or not unsure else _unsettled(evidence, unsure),
        remedy=WEIGHT_DECAY if "collapsed" in kinds else "",
        next_command="fold" if 2 * len(still) > len(bounded) else MORE_CLASSES if unsure and few_classes else "",
    )


def no_dead_channels(evidence: Evidence) -> Finding | None:
    """How many channels are closed for every image; None where no site has gates of its own that could be."""
    sites = [site for site in evidence.sites if site.site.bounded and site.site.branches == 1]
    if not sites:
        return None
    claim = Finding(
        "no-dead-channels",
        f"Every channel is used: its gate opens for some images ({SOURCE}).",
        title="Dead channels",
        quantity="share of channels that are dead",
        bar=f"dead: a mean gate of {CLOSED:g} or less that moves by less than {STATIC_SD:g} over images",
    )
    reason = too_few_images(evidence)
    if reason is not None:
        return claim.undecided(reason, names(sites))
    dead = {site.name: round(float(site.health["closed"]) * site.site.channels) for site in sites}
    channels, count = sum(site.site.channels for site in sites), sum(dead.values())
    worst = sorted((site for site in sites if dead[site.name]), key=lambda site: -dead[site.name])
    most = ", ".join(f"{site.name} ({dead[site.name]} of {site.site.channels})" for site in worst[:MOST_SITES])
    statement = (
        f"{count:,} of {channels:,} channels have a mean gate of {CLOSED:g} or less and move by less than "
        f"{STATIC_SD:g} over images{f'; most at {most}' if most else ''}."
    )
    low, high = (sum(site.dead[end] for site in sites) for end in (0, 1))
    if count:
        statement += " Nothing of what the block computes in them is left, only what a shortcut brings."
    if low != high:
        statement += f" Their number has 95 % limits of {low:,} and {high:,}."
    verdict: Verdict = "not supported" if low else "supported" if not high else "cannot be judged"
    return replace(
        claim,
        verdict=verdict,
        result=f"{count:,} of {channels:,}{f', most at {worst[0].name}' if worst else ''}",
        statement=statement,
        value=count / channels,
        sites=names([site for site in sites if dead[site.name]] or sites),
        news=f"{count:,} of {channels:,} channels are dead: their gates are closed for every image." if low else "",
    )


def nearly_constant(evidence: Evidence) -> Finding:
    """Which sites could be folded: "can I drop the SE blocks?", as far as a recording can tell."""
    bounded = [site for site in evidence.sites if site.site.bounded]
    claim = Finding(
        "nearly-constant-sites",
        "Some sites have gates so close to constant that they could be folded into weights "
        f'("can I drop them?", {SOURCE}).',
        title="Nearly constant sites",
        quantity="share of sites that are nearly constant",
        bar=f"nearly constant: at least {percent(MOST)} of the channels move by less than {STATIC_SD:g} over images",
    )
    reason = too_few_images(evidence) or (None if bounded else UNBOUNDED)
    if reason is not None:
        return claim.undecided(reason, names(evidence.sites))
    order = sorted(bounded, key=lambda site: site.sd)
    _, still, unsure = _by_verdict(bounded)
    least = ", ".join(
        f"{site.name} {site.sd:.4f} ({percent(1 - float(site.health['dynamic']))} of its channels hardly move)"
        for site in order[:MOST_SITES]
    )
    count = f"{len(still)} of {len(bounded)}" + (f", {listed(still)}" if still else "")
    statement = (
        f"Nearly constant means that at least {percent(MOST)} of the channels move by less than {STATIC_SD:g} over "
        f"images. Such sites: {count}. Smallest standard deviations over images, in gate units: {least}. What folding "
        "costs in accuracy shows only when the folded network is run."
    )
    if unsure:
        statement += f" {_unsettled(evidence, unsure)}"
    return replace(
        claim,
        verdict="supported" if still else "cannot be judged" if unsure else "not supported",
        result=count,
        statement=statement,
        value=len(still) / len(bounded),
        sites=names(still or order[:MOST_SITES]),
        next_command="fold" if still else "",
    )


def branches_choose(evidence: Evidence) -> Finding | None:
    """Whether attention chooses among branches, neither even nor all on one; None without competing branches."""
    sites = [site for site in evidence.sites if np.isfinite(site.health["entropy"])]
    if not sites:
        return None
    claim = Finding(
        "branches-choose",
        f"Attention chooses among branches: it is neither even nor always on one ({SOURCE}).",
        title="Attention chooses among branches",
        quantity="entropy of the attention over branches as a share of the highest, mean of all sites",
        bar=f"it chooses where this entropy lies between {ONE_BRANCH_ENTROPY:g} and {EVEN_ENTROPY:g} and the attention "
        "depends on the image",
    )
    reason = too_few_images(evidence) or too_few_chosen(evidence)
    if reason is not None:
        return claim.undecided(reason, names(sites))
    intervals = {site.name: _entropy_limits(evidence, site) for site in sites}
    parts = {
        "even": [below(intervals[site.name], EVEN_ENTROPY) for site in sites],
        "all on one branch": [above(intervals[site.name], ONE_BRANCH_ENTROPY) for site in sites],
        "the same for every image": [_live(site) for site in sites],
    }
    entropies = [float(site.health["entropy"]) for site in sites]
    low, high = sites[int(np.argmin(entropies))], sites[int(np.argmax(entropies))]
    statement = (
        "The entropy of the attention over branches, as a share of the highest, lies between "
        + " and ".join(
            f"{site.health['entropy']:.3f} ({limits(intervals[site.name])}) at {site.name}" for site in (low, high)
        )
        + " (95 % intervals over images); 1 is an even split, 0 one branch alone."
    )
    told: list[SiteEvidence] = []
    for meaning, verdicts in parts.items():
        failed = [site for site, verdict in zip(sites, verdicts, strict=True) if verdict == "not supported"]
        group = [site for site in failed if site not in told]
        told += group
        statement += f" Attention is {meaning} at {listed(group)}." if group else ""
    return replace(
        claim,
        verdict=all_of(verdict for verdicts in parts.values() for verdict in verdicts),
        result=f"entropy {min(entropies):.2f} to {max(entropies):.2f} of the highest",
        statement=statement,
        value=float(np.mean(entropies)),
        sites=names(sites),
    )


def _live(site: SiteEvidence) -> Verdict:
    """Whether more channels move than those of a still site may."""
    return above(site.moving, 1 - MOST)


def _by_verdict(sites: Sequence[SiteEvidence]) -> tuple[list[SiteEvidence], list[SiteEvidence], list[SiteEvidence]]:
    """Sites that are live, that are not, and of which the data do not tell."""
    verdicts: tuple[Verdict, ...] = ("supported", "not supported", "cannot be judged")
    live, still, unsure = ([site for site in sites if _live(site) == verdict] for verdict in verdicts)
    return live, still, unsure


def _unsettled(evidence: Evidence, sites: Sequence[SiteEvidence]) -> str:
    return (
        f"Whether the gates depend on the image is not settled at {listed(sites)} by {evidence.images:,} images of "
        f"{evidence.moving_classes} classes."
    )


def _by_kind(still: Sequence[SiteEvidence]) -> dict[str, list[SiteEvidence]]:
    """Sites that are not live by their state, the worst first."""
    kinds = {kind: [site for site in still if site.verdict == kind] for kind in _KINDS}
    return {kind: sites for kind, sites in kinds.items() if sites}


def _told(kind: str, sites: Sequence[SiteEvidence]) -> str:
    """What is known of the sites in a state."""
    most = max(site.sd for site in sites)
    return (
        f" {kind.capitalize()}: {listed(sites)}, mean gate {span((site.mean_gate for site in sites), 3)}, standard "
        f"deviation over images {most:.4f} or less ({_KINDS[kind][2]})."
    )


def _news(bounded: Sequence[SiteEvidence], kinds: Mapping[str, Sequence[SiteEvidence]]) -> str:
    """One sentence, the worst state first."""
    if not kinds:
        return f"The gates are live at all {len(bounded)} sites: they depend on the image."
    parts = []
    for kind, sites in kinds.items():
        where = f"all {len(bounded)}" if len(sites) == len(bounded) else f"{len(sites)} of {len(bounded)}"
        named = f" ({', '.join(names(sites))})" if len(sites) <= MOST_NAMES else ""
        parts.append(f"{_KINDS[kind][0]} at {where} sites{named}")
    worst, sites = next(iter(kinds.items()))
    meaning = _KINDS[worst][1].format(span((site.mean_gate for site in sites), 2))
    return f"The gates {' and '.join(parts)}: {meaning} whatever the image."


def _entropy_limits(evidence: Evidence, site: SiteEvidence) -> tuple[float, float]:
    """95 % limits over images of the chosen classes."""
    freedom = sum(evidence.chosen_images) - len(evidence.chosen_images)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * float(site.health["entropy_error"])
    entropy = float(site.health["entropy"])
    return max(entropy - reach, 0.0), min(entropy + reach, 1.0)
