"""What users ask about their gates: why they are all alike, dead, constant, or even over branches."""

import numpy as np

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.finding import Finding, Verdict
from se_probe.analysis.findings.thresholds import EVEN_ENTROPY, ONE_BRANCH_ENTROPY
from se_probe.analysis.findings.words import listed, names, percent, undecided
from se_probe.analysis.stats.states import CLOSED, MOST, OPEN, STATIC_SD

SOURCE = "a question of users"
MOST_SITES = 3
ONE_IMAGE = "No class has two images, so that nothing shows whether gates move."

_MEANING = {
    "collapsed": "most channels are scaled by one and the same constant, whatever the image; a sigmoid gives 0.5 where "
    "what computes the gate returns 0 for every image, another level where only its bias is left",
    "saturated": f"most channels stay where they are, mainly at {OPEN:g} or more or {CLOSED:g} or less, whatever the "
    "image",
    "constant": "most channels have a fixed scale of their own, whatever the image",
}


def gates_alive(evidence: Evidence) -> Finding:
    """Whether gates are collapsed, saturated or constant: "why are all my gates 0.5 (0.65, only 0 and 1)?"."""
    key, claim = "gates-alive", f'The gates depend on the image at every site ("why are all my gates 0.5?", {SOURCE}).'
    if any(site.verdict == "unknown" for site in evidence.sites):
        return undecided(key, claim, ONE_IMAGE, evidence.sites)
    kinds = {kind: [site for site in evidence.sites if site.verdict == kind] for kind in _MEANING}
    still = [site for site in evidence.sites if site.verdict != "live"]
    alive = 1 - len(still) / len(evidence.sites)
    if not still:
        least = min(evidence.sites, key=lambda site: site.sd)
        statement = (
            f"All {len(evidence.sites)} sites are live: more than {percent(1 - MOST)} of the channels of each have "
            f"gates with a standard deviation over images of {STATIC_SD:g} or more. {least.name} moves least, by "
            f"{least.sd:.3f}."
        )
        return Finding(key, claim, "supported", statement, alive, None, names(evidence.sites))
    parts = [_kind(kind, sites) for kind, sites in kinds.items() if sites]
    statement = f"Not live: {len(still)} of {len(evidence.sites)} sites. {' '.join(parts)}"
    return Finding(key, claim, "not supported", statement, alive, None, names(still))


def no_dead_channels(evidence: Evidence) -> Finding | None:
    """Whether gates close channels for every image; None where no site has gates of its own that could."""
    sites = [site for site in evidence.sites if site.site.bounded and site.site.branches == 1]
    key, claim = "no-dead-channels", f"No channel is dead, its gate closed for every image ({SOURCE})."
    if not sites:
        return None
    if any(site.verdict == "unknown" for site in sites):
        return undecided(key, claim, ONE_IMAGE, sites)
    dead = {site.name: round(float(site.health["closed"]) * site.site.channels) for site in sites}
    channels = sum(site.site.channels for site in sites)
    share = sum(dead.values()) / channels
    if not share:
        return Finding(key, claim, "supported", f"None of {channels} channels is dead.", 0.0, None, names(sites))
    worst = sorted((site for site in sites if dead[site.name]), key=lambda site: -dead[site.name])
    most = ", ".join(f"{site.name} ({dead[site.name]} of {site.site.channels})" for site in worst[:MOST_SITES])
    statement = (
        f"{sum(dead.values())} of {channels} channels have a mean gate of {CLOSED:g} or less and move by less than "
        f"{STATIC_SD:g}; most at {most}. Nothing of what the block computes in them is left, only what a shortcut "
        "brings."
    )
    return Finding(key, claim, "not supported", statement, share, None, names([s for s in sites if dead[s.name]]))


def nearly_constant(evidence: Evidence) -> Finding:
    """Which sites could be folded: "can I drop the SE blocks?", as far as a recording can tell."""
    key = "nearly-constant-sites"
    claim = (
        "Some sites have gates so close to constant that they could be folded into weights "
        f'("can I drop them?", {SOURCE}).'
    )
    bounded = [site for site in evidence.sites if site.site.bounded and site.verdict != "unknown"]
    if not bounded:
        reason = "No site has bounded gates of which two images of a class were seen, so that there is no unit."
        return undecided(key, claim, reason, evidence.sites)
    order = sorted(bounded, key=lambda site: site.sd)
    still = [site for site in evidence.sites if site in bounded and site.verdict != "live"]
    least = ", ".join(
        f"{site.name} {site.sd:.4f} ({percent(1 - float(site.health['dynamic']))} of its channels hardly move)"
        for site in order[:MOST_SITES]
    )
    count = f"{len(still)} of {len(bounded)}" + (f", {listed(still)}" if still else "")
    statement = (
        f"Close to constant means that at least {percent(MOST)} of the channels move by less than {STATIC_SD:g} over "
        f"images. Such sites: {count}. Smallest standard deviations over images: {least}. What folding costs in "
        "accuracy shows only when the folded network is run."
    )
    verdict: Verdict = "supported" if still else "not supported"
    return Finding(key, claim, verdict, statement, len(still) / len(bounded), None, names(still or order[:MOST_SITES]))


def branches_choose(evidence: Evidence) -> Finding | None:
    """Whether attention chooses among branches, neither even nor all on one; None without competing branches."""
    sites = [site for site in evidence.sites if np.isfinite(site.health["entropy"])]
    if not sites:
        return None
    claim = f"Attention chooses among branches: it is neither even nor always on one ({SOURCE})."
    if not all(np.isfinite(site.health["entropy_error"]) for site in sites):
        reason = "No class has two images, so that nothing shows whether attention depends on the image."
        return undecided("branches-choose", claim, reason, sites)
    entropies = {site.name: float(site.health["entropy"]) for site in sites}
    even = [site for site in sites if entropies[site.name] >= EVEN_ENTROPY]
    single = [site for site in sites if entropies[site.name] <= ONE_BRANCH_ENTROPY]
    still = [site for site in sites if site.verdict != "live" and site not in even and site not in single]
    low, high = (pick(sites, key=lambda site: entropies[site.name]) for pick in (min, max))
    statement = (
        f"The entropy of the attention over branches, as a share of the highest, lies between {_entropy(low)} and "
        f"{_entropy(high)}; 1 is an even split, 0 one branch alone."
    )
    for group, meaning in ((even, "even"), (single, "all on one branch"), (still, "the same for every image")):
        statement += f" Attention is {meaning} at {listed(group)}." if group else ""
    verdict: Verdict = "not supported" if even or single or still else "supported"
    mean = float(np.mean(list(entropies.values())))
    return Finding("branches-choose", claim, verdict, statement, mean, None, names(sites))


def _kind(kind: str, sites: list[SiteEvidence]) -> str:
    low, high = min(site.mean_gate for site in sites), max(site.mean_gate for site in sites)
    level = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
    most = max(site.sd for site in sites)
    return (
        f"{kind.capitalize()}: {listed(sites)}, mean gate {level}, standard deviation over images {most:.4f} or less "
        f"({_MEANING[kind]})."
    )


def _entropy(site: SiteEvidence) -> str:
    return f"{site.health['entropy']:.3f} ± {site.health['entropy_error']:.3f} ({site.name})"
