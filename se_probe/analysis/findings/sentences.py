"""Numbers and sites in words, and the reasons why a claim cannot be judged, None where it can."""

from collections.abc import Iterable, Sequence

import numpy as np

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.thresholds import FEWEST_CLASSES, FEWEST_IMAGES, FEWEST_SITES
from se_probe.analysis.stats.states import FEWEST_STATE_IMAGES

MOST_NAMES = 4
PAPER = 'SENet, "Role of Excitation"'
SOURCE = "a question of users"


def names(sites: Sequence[SiteEvidence]) -> tuple[str, ...]:
    """Names of sites."""
    return tuple(site.name for site in sites)


def listed(sites: Sequence[SiteEvidence]) -> str:
    """`SE_2_1, SE_2_2 and SE_2_3`; of many the first and the last, and how many there are."""
    *first, last = names(sites)
    if len(sites) > MOST_NAMES:
        return f"{first[0]} to {last} ({len(sites)} sites)"
    return f"{', '.join(first)} and {last}" if first else last


def limits(interval: tuple[float, float], decimals: int = 3) -> str:
    """`0.100 to 0.200`, or that there are none."""
    low, high = (f"{end:z.{decimals}f}" for end in interval)
    return f"{low} to {high}" if np.all(np.isfinite(interval)) else "no interval"


def span(values: Iterable[float], decimals: int) -> str:
    """`0.489 to 0.504`, one number where the smallest and the largest are the same."""
    known = list(values)
    low, high = (f"{pick(known):.{decimals}f}" for pick in (min, max))
    return low if low == high else f"{low} to {high}"


def percent(share: float) -> str:
    """Whole percents; a share that is neither 0 nor 1 is not rounded to either."""
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 < share < 1 else f"{100 * share:.0f} %"


def left_out(sites: Sequence[SiteEvidence]) -> str:
    """Which sites do not count."""
    return f" Left out, because gates are unbounded or hardly move: {listed(sites)}." if sites else ""


def too_few_classes(evidence: Evidence) -> str | None:
    """Claims about classes need enough of them."""
    if evidence.classes >= FEWEST_CLASSES:
        return None
    return (
        f"{evidence.classes} classes have {FEWEST_IMAGES} images or more, and {FEWEST_CLASSES} are needed; "
        "record more with --reference-per-class."
    )


def too_few_images(evidence: Evidence) -> str | None:
    """Whether gates move is told from images."""
    if evidence.images >= FEWEST_STATE_IMAGES:
        return None
    return (
        f"{evidence.images} images belong to classes with two images or more, and {FEWEST_STATE_IMAGES} are needed "
        "to tell whether gates move; record more with --per-class."
    )


def too_few_chosen(evidence: Evidence) -> str | None:
    """Single gates are kept of the chosen classes only."""
    fewest = min(evidence.chosen_images, default=0)
    if fewest >= FEWEST_IMAGES:
        return None
    return f"A chosen class has {fewest} images, and {FEWEST_IMAGES} are needed; record more with --per-class."


def too_few_sites(sites: Sequence[SiteEvidence]) -> str | None:
    """A trend with depth needs sites in several stages."""
    stages = {site.site.stage for site in sites}
    if len(sites) >= FEWEST_SITES and len(stages) > 1:
        return None
    return (
        f"{len(sites)} sites in {len(stages)} stages have bounded gates that depend on the image; a trend needs "
        f"{FEWEST_SITES} in 2 stages."
    )


def one_stage(evidence: Evidence) -> str | None:
    """Early and late are different stages."""
    if len(evidence.stages) > 1:
        return None
    return f"All sites are in stage {evidence.stages[0]}; early and late stages cannot be told apart."


def mostly_still(sites: Sequence[SiteEvidence]) -> str | None:
    """Half of the sites have to move."""
    still = [site for site in sites if not site.moves]
    return not_moving(still) if 2 * len(still) > len(sites) else None


def not_moving(sites: Sequence[SiteEvidence]) -> str:
    """Say that gates have no unit, or do not move."""
    if not all(site.site.bounded for site in sites):
        return f"Gates are unbounded at {listed(sites)}; there is no unit in which to say how much they move."
    verdicts = ", ".join(dict.fromkeys(site.verdict for site in sites))
    most = max(site.sd for site in sites)
    return (
        f"The gates hardly depend on the image at {listed(sites)}: {verdicts}, mean gate "
        f"{span((site.mean_gate for site in sites), 3)}, standard deviation over images {most:.4f} at the most. A "
        "share of so small a variance says nothing about classes."
    )
