"""How findings put numbers and sites into words."""

from collections.abc import Sequence

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.finding import Finding
from se_probe.analysis.findings.thresholds import FEWEST_CLASSES, FEWEST_IMAGES

MOST_NAMES = 4


def names(sites: Sequence[SiteEvidence]) -> tuple[str, ...]:
    """Names of sites."""
    return tuple(site.name for site in sites)


def listed(sites: Sequence[SiteEvidence]) -> str:
    """`SE_2_1, SE_2_2 and SE_2_3`; of many the first and the last, and how many there are."""
    known = names(sites)
    if len(known) > MOST_NAMES:
        return f"{known[0]} to {known[-1]} ({len(known)} sites)"
    return " and ".join(part for part in (", ".join(known[:-1]), known[-1]) if part)


def limits(interval: tuple[float, float], decimals: int = 3) -> str:
    """`0.100 to 0.200`."""
    low, high = (f"{end:z.{decimals}f}" for end in interval)
    return f"{low} to {high}"


def percent(share: float) -> str:
    """Whole percents; a share that is neither 0 nor 1 is not rounded to either."""
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 < share < 1 else f"{100 * share:.0f} %"


def undecided(key: str, claim: str, reason: str, sites: Sequence[SiteEvidence] = ()) -> Finding:
    """A finding without a number, for the stated reason."""
    return Finding(key, claim, "cannot be judged", reason, None, None, names(sites))


def too_little_data(evidence: Evidence) -> str | None:
    """Why claims about classes cannot be judged, None where they can."""
    if evidence.classes >= FEWEST_CLASSES:
        return None
    return (
        f"{evidence.classes} classes have {FEWEST_IMAGES} images or more, and {FEWEST_CLASSES} are needed; "
        "record more with --reference-per-class."
    )


def one_stage(evidence: Evidence) -> str | None:
    """Why early and late stages cannot be compared, None where they can."""
    if len(evidence.stages) > 1:
        return None
    return f"All sites are in stage {evidence.stages[0]}; early and late stages cannot be told apart."


def not_moving(sites: Sequence[SiteEvidence]) -> str:
    """Why sites say nothing about classes: their gates have no unit, or do not move."""
    if not all(site.site.bounded for site in sites):
        return f"Gates are unbounded at {listed(sites)}; there is no unit in which to say how much they move."
    verdicts = ", ".join(dict.fromkeys(site.verdict for site in sites))
    most = max(site.sd for site in sites)
    levels = limits((min(site.mean_gate for site in sites), max(site.mean_gate for site in sites)))
    return (
        f"The gates hardly depend on the image at {listed(sites)} ({verdicts}): mean gate {levels}, standard deviation "
        f"over images {most:.4f} at the most. A share of so small a variance says nothing about classes."
    )
