"""What users ask about their gates: why they are all alike, dead, constant, or even over branches."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.finding import VERDICTS, Finding, Verdict, above, all_of, below
from se_probe.analysis.findings.sentences import (
    MOST_NAMES,
    SOURCE,
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
from se_probe.analysis.stats.states import CLOSED, MOST, OPEN, STATIC_SD

MOST_SITES = 3
MORE_CLASSES = "excite --reference-per-class 50"
UNBOUNDED = "All gates are unbounded, so that there is no unit in which to say how much they move."
WEIGHT_DECAY = (
    "Weight decay on the layers of the excitation is a known cause: it pulls their weights to 0. Train without it "
    "there; the gates of this network can be folded into neighbouring layers."
)
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


def gates_alive(evidence: Evidence) -> Finding:
    """Whether gates are collapsed, saturated or constant: "why are all my gates 0.5 (0.65, only 0 and 1)?"."""
    claim = Finding(
        "gates-alive",
        f'The gates depend on the image at every site ("why are all my gates 0.5?", {SOURCE}).',
        title="Live sites",
        quantity="share of sites that are live",
        bar=f"live: more than {percent(1 - MOST)} of the channels move by {STATIC_SD:g} or more over images",
    )
    bounded = evidence.bounded
    if reason := too_few_images(evidence) or _no_unit(evidence):
        news = f"Whether the gates depend on the image cannot be judged: {reason[0].lower()}{reason[1:]}"
        return claim.undecided(reason, names(evidence.sites), news=news)
    live, still, unsure = _by_verdict(bounded)
    kinds = {kind: sites for kind in _KINDS if (sites := [site for site in still if site.verdict == kind])}
    least = min(bounded, key=lambda site: site.sd)
    sentences = [
        f"{len(live)} of {len(bounded)} sites are live: more than {percent(1 - MOST)} of the channels of each have "
        f"gates with a standard deviation over images of {STATIC_SD:g} or more. {least.name} moves least, by "
        f"{least.sd:.4f}.",
        *(_state_sentence(kind, sites) for kind, sites in kinds.items()),
        *([_unsettled(evidence, unsure)] if unsure else []),
    ]
    more = MORE_CLASSES if unsure and evidence.moving_classes < FEWEST_CLASSES else ""
    parts = [f"{kind}: {listed(sites)}" for kind, sites in (kinds | ({"open": unsure} if unsure else {})).items()]
    return replace(
        claim,
        verdict=all_of(_live(site) for site in bounded),
        result="; ".join([f"{len(live)} of {len(bounded)}", *parts]),
        statement=" ".join(sentences) + left_out([site for site in evidence.sites if not site.site.bounded]),
        value=len(live) / len(bounded),
        sites=names(still or unsure or bounded),
        news=_news(bounded, kinds) if still or not unsure else _unsettled(evidence, unsure),
        remedy=WEIGHT_DECAY if "collapsed" in kinds else "",
        next_command="fold" if 2 * len(still) > len(bounded) else more,
    )


def no_dead_channels(evidence: Evidence) -> Finding | None:
    """How many channels are closed for every image; None where no site has gates of its own that could be."""
    sites = [site for site in evidence.bounded if site.site.branches == 1]
    if not sites:
        return None
    claim = Finding(
        "no-dead-channels",
        f"Every channel is used: its gate opens for some images ({SOURCE}).",
        title="Dead channels",
        quantity="share of channels that are dead",
        bar=f"dead: a mean gate of {CLOSED:g} or less that moves by less than {STATIC_SD:g} over images",
    )
    if reason := too_few_images(evidence):
        return claim.undecided(reason, names(sites))
    dead = {site.name: round(float(site.health["closed"]) * site.site.channels) for site in sites}
    channels, count = sum(site.site.channels for site in sites), sum(dead.values())
    worst = sorted((site for site in sites if dead[site.name]), key=lambda site: -dead[site.name])
    most = ", ".join(f"{site.name} ({dead[site.name]} of {site.site.channels})" for site in worst[:MOST_SITES])
    statement = (
        f"{count:,} of {channels:,} channels have a mean gate of {CLOSED:g} or less and move by less than "
        f"{STATIC_SD:g} over images{f'; most at {most}' if most else ''}."
    )
    low, high = np.sum([site.dead for site in sites], axis=0).tolist()
    if count:
        statement += " Nothing of what the block computes in them is left, only what a shortcut brings."
    if low != high:
        statement += f" Their number has 95 % limits of {low:,} and {high:,}."
    return replace(
        claim,
        verdict="not supported" if low else "supported" if not high else "cannot be judged",
        result=f"{count:,} of {channels:,}{f', most at {worst[0].name}' if worst else ''}",
        statement=statement,
        value=count / channels,
        sites=names([site for site in sites if dead[site.name]] or sites),
        news=f"{count:,} of {channels:,} channels are dead: their gates are closed for every image." if low else "",
    )


def nearly_constant(evidence: Evidence) -> Finding:
    """Which sites could be folded: "can I drop the SE blocks?", as far as a recording can tell."""
    claim = Finding(
        "nearly-constant-sites",
        "Some sites have gates so close to constant that they could be folded into weights "
        f'("can I drop them?", {SOURCE}).',
        title="Nearly constant sites",
        quantity="share of sites that are nearly constant",
        bar=f"nearly constant: at least {percent(MOST)} of the channels move by less than {STATIC_SD:g} over images",
    )
    bounded = evidence.bounded
    if reason := too_few_images(evidence) or _no_unit(evidence):
        return claim.undecided(reason, names(evidence.sites))
    least = sorted(bounded, key=lambda site: site.sd)[:MOST_SITES]
    _, still, unsure = _by_verdict(bounded)
    open_question = f" {_unsettled(evidence, unsure)}" if unsure else ""
    count = f"{len(still)} of {len(bounded)}" + (f", {listed(still)}" if still else "")
    each = ", ".join(f"{site.name} {site.sd:.4f} ({percent(site.still)} of its channels hardly move)" for site in least)
    return replace(
        claim,
        verdict="supported" if still else "cannot be judged" if unsure else "not supported",
        result=count,
        statement=f"Nearly constant means that at least {percent(MOST)} of the channels move by less than "
        f"{STATIC_SD:g} over images. Such sites: {count}. Smallest standard deviations over images, in gate units: "
        f"{each}. What folding costs in accuracy shows only when the folded network is run.{open_question}",
        value=len(still) / len(bounded),
        sites=names(still or least),
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
    if reason := too_few_images(evidence) or too_few_chosen(evidence):
        return claim.undecided(reason, names(sites))
    intervals = {site.name: evidence.limits_over_images(site, "entropy") for site in sites}
    parts = {
        "even": {site: below(intervals[site.name], EVEN_ENTROPY) for site in sites},
        "all on one branch": {site: above(intervals[site.name], ONE_BRANCH_ENTROPY) for site in sites},
        "the same for every image": {site: _live(site) for site in sites},
    }
    low, high = (pick(sites, key=lambda site: float(site.health["entropy"])) for pick in (min, max))
    ends = [f"{s.health['entropy']:.3f} ({limits(intervals[s.name])}) at {s.name}" for s in (low, high)]
    statement = (
        f"The entropy of the attention over branches, as a share of the highest, lies between {' and '.join(ends)}"
        " (95 % intervals over images); 1 is an even split, 0 one branch alone."
    )
    named: list[SiteEvidence] = []
    for meaning, verdicts in parts.items():
        group = [site for site, verdict in verdicts.items() if verdict == "not supported" and site not in named]
        named += group
        statement += f" Attention is {meaning} at {listed(group)}." if group else ""
    return replace(
        claim,
        verdict=all_of(verdict for verdicts in parts.values() for verdict in verdicts.values()),
        result=f"entropy {low.health['entropy']:.2f} to {high.health['entropy']:.2f} of the highest",
        statement=statement,
        value=float(np.mean([site.health["entropy"] for site in sites])),
        sites=names(sites),
    )


def _no_unit(evidence: Evidence) -> str | None:
    return None if evidence.bounded else UNBOUNDED


def _live(site: SiteEvidence) -> Verdict:
    """Whether more channels move than those of a still site may."""
    return above(site.moving, 1 - MOST)


def _by_verdict(sites: Sequence[SiteEvidence]) -> list[list[SiteEvidence]]:
    """Sites that are live, that are not, and of which the data do not tell."""
    return [[site for site in sites if _live(site) == verdict] for verdict in VERDICTS]


def _unsettled(evidence: Evidence, sites: Sequence[SiteEvidence]) -> str:
    return (
        f"Whether the gates depend on the image is not settled at {listed(sites)} by {evidence.images:,} images of "
        f"{evidence.moving_classes} classes."
    )


def _state_sentence(kind: str, sites: Sequence[SiteEvidence]) -> str:
    most = max(site.sd for site in sites)
    return (
        f"{kind.capitalize()}: {listed(sites)}, mean gate {span((site.mean_gate for site in sites), 3)}, standard "
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
