"""Claims about depth: class-agnostic early, class-specific late, and more variance within classes later."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from se_probe.analysis.findings.evidence import Evidence, SiteEvidence
from se_probe.analysis.findings.finding import Finding, Verdict, above, all_of, below
from se_probe.analysis.findings.sentences import (
    PAPER,
    left_out,
    limits,
    listed,
    mostly_still,
    names,
    one_stage,
    percent,
    too_few_classes,
    too_few_sites,
)
from se_probe.analysis.findings.thresholds import AGNOSTIC_SD, RISE_OF_SD, RISE_OF_SHARE, SPECIFIC_SD
from se_probe.analysis.stats.moments import Floats

SPECIFICITY, DECODABILITY, COVARIATES = "site_specificity.csv", "site_decodability.csv", "site_covariates.csv"
_NEWS: dict[Verdict, str] = {
    "supported": "The gates become class-specific with depth: the share of their variance between classes (ω²) rises "
    "by {rise:.2f} from the first to the last site.",
    "not supported": "The gates do not become class-specific with depth: the slope of the share of their variance "
    "between classes (ω²) is {rise:+.2f} from the first to the last site.",
    "cannot be judged": "Whether the gates become class-specific with depth stays open: the slope of the share of "
    "their variance between classes (ω²) is {rise:+.2f} ({limits}) from the first to the last site.",
}


def class_agnostic_early(evidence: Evidence) -> Finding:
    """Claim 1: class means differ by less than `AGNOSTIC_SD` over the sites of the first half of the stages."""
    claim = Finding(
        "class-agnostic-early",
        f"In early stages the gates are nearly the same for all classes ({PAPER}).",
        title="Early gates are alike for all classes",
        quantity="standard deviation between class means at early sites, gate units",
        bar=f"alike where class means differ by less than {AGNOSTIC_SD:g} gate units",
    )
    early = evidence.early
    if reason := too_few_classes(evidence) or one_stage(evidence) or mostly_still(early):
        return claim.undecided(reason, names(early))
    moving = [site for site in early if site.moves]
    spread, interval = class_spread(evidence, moving)
    return replace(
        claim,
        verdict=below(interval, AGNOSTIC_SD),
        result=f"class means differ by {spread:.3f} ({limits(interval)}), bar {AGNOSTIC_SD:g}",
        statement=f"Class means differ by {spread:.3f} gate units (standard deviation between classes without the "
        f"noise of the means, root mean square over channels; 95 % interval over classes {limits(interval)}) at "
        f"{listed(moving)}; {evidence.classes} classes. They count as alike below {AGNOSTIC_SD:g}."
        f"{left_out([site for site in early if not site.moves])}",
        value=spread,
        interval=interval,
        sites=names(moving),
    )


def class_specific_late(evidence: Evidence) -> Finding:
    """Claim 2: the share of variance between classes rises with depth, and late class means differ measurably."""
    claim = Finding(
        "class-specific-late",
        f"With depth the gates become specific to classes ({PAPER}).",
        title="Gates become class-specific with depth",
        quantity="rise of ω², the share of variance between classes, from the first to the last site",
        bar=f"a rise of ω² counts above {RISE_OF_SHARE:g}, a difference of late class means above {SPECIFIC_SD:g}",
    )
    moving = [site for site in evidence.sites if site.moves]
    reason = too_few_classes(evidence) or one_stage(evidence) or mostly_still(evidence.late) or too_few_sites(moving)
    if reason is not None:
        return claim.undecided(reason, names(evidence.late))
    late = [site for site in evidence.late if site.moves]
    shares = np.stack([site.between / (site.between + site.within) for site in moving])
    rise, interval = _rise(evidence, moving, shares)
    spread, reach = class_spread(evidence, late)
    verdict = all_of([above(interval, RISE_OF_SHARE), above(reach, SPECIFIC_SD)])
    return replace(
        claim,
        verdict=verdict,
        news=_NEWS[verdict].format(rise=rise, limits=limits(interval, 2)),
        result=f"slope of ω² over depth {rise:+.2f} ({limits(interval, 2)}), bar {RISE_OF_SHARE:g}",
        statement="The share of the gates' variance that lies between classes (ω², corrected for bias) has a slope of "
        f"{rise:+.2f} from the first to the last site (straight line through {len(moving)} sites; 95 % interval over "
        f"classes {limits(interval, 2)}); a rise counts above {RISE_OF_SHARE:g}. {_extremes(moving, shares[:, 0], 2)} "
        f"At {listed(late)} class means differ by {spread:.3f} gate units ({limits(reach)}); gates count as "
        f"class-specific above {SPECIFIC_SD:g}. {evidence.classes} classes."
        f"{left_out([site for site in evidence.sites if not site.moves])}",
        value=rise,
        interval=interval,
        sites=names(moving),
    )


def more_variance_late(evidence: Evidence) -> Finding:
    """Claim 6: the standard deviation over images of a class rises with depth."""
    claim = Finding(
        "more-variance-within-classes-late",
        f"Images of the same class differ more in later layers ({PAPER}).",
        title="More variance within classes in later layers",
        quantity="rise of the standard deviation within classes from the first to the last site, gate units",
        bar=f"a rise counts above {RISE_OF_SD:g} gate units",
    )
    sites = evidence.bounded
    reason = too_few_classes(evidence) or one_stage(evidence) or mostly_still(evidence.sites) or too_few_sites(sites)
    if reason is not None:
        return claim.undecided(reason, names(evidence.sites))
    spreads = np.sqrt(np.stack([site.within for site in sites]))
    rise, interval = _rise(evidence, sites, spreads)
    return replace(
        claim,
        verdict=above(interval, RISE_OF_SD),
        result=f"slope over depth {rise:+.3f} ({limits(interval)}), bar {RISE_OF_SD:g}",
        statement=f"The standard deviation over images of a class has a slope of {rise:+.3f} gate units from the first "
        f"to the last site (straight line through {len(sites)} sites; 95 % interval over classes {limits(interval)}); "
        f"a rise counts above {RISE_OF_SD:g}. {_extremes(sites, spreads[:, 0], 3)}",
        value=rise,
        interval=interval,
        sites=names(sites),
    )


def class_spread(evidence: Evidence, sites: Sequence[SiteEvidence]) -> tuple[float, tuple[float, float]]:
    """Standard deviation of true class means in gate units, root mean square over sites, with 95 % limits.

    The limits are made on the scale log(1 + between/total), on which the jackknife's error is nearly the same
    for small and for large variances.
    """
    left = np.r_[evidence.classes, evidence.classes - np.bincount(evidence.groups)]
    # The variance of these K classes about their mean is (K - 1)/K of that of the classes they are drawn from.
    between = np.mean([site.between for site in sites], axis=0) * left / (left - 1)
    total = float(between[0] + np.mean([site.within[0] for site in sites]))
    variances = [between[0], *(total * np.expm1(end) for end in evidence.limits(np.log1p(between / total)))]
    # An estimated variance below 0 is 0.
    spread, low, high = (float(np.sqrt(max(variance, 0.0))) for variance in variances)
    return spread, (low, high)


def _rise(evidence: Evidence, sites: Sequence[SiteEvidence], values: Floats) -> tuple[float, tuple[float, float]]:
    """Rise of the least-squares line from the network's first site to its last, of values (site, 1 + groups)."""
    depth = np.array([site.depth for site in sites])
    centred = depth - depth.mean()
    slopes = centred @ values / np.sum(centred**2)
    return float(slopes[0]), evidence.limits(slopes)


def _extremes(sites: Sequence[SiteEvidence], values: Floats, decimals: int) -> str:
    """Where a quantity is smallest and largest; single sites need not follow the line."""
    ends = int(values.argmin()), int(values.argmax())
    low, high = (f"{sites[index].name} ({values[index]:z.{decimals}f})" for index in ends)
    return f"It is smallest at {low} and largest at {high}."


def context_sentences(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Sentences to add to statements, by the key of the finding.

    The `null_…` columns of `beside_null` in tables of `measure_tables` give a sentence on the null, the table of
    `site_covariates` as `site_covariates.csv` one on the images.
    """
    sentences = {}
    if "null_omega_squared" in tables.get(SPECIFICITY, ()):
        sentences["class-specific-late"] = _null_sentence(tables)
    if COVARIATES in tables and tables[COVARIATES]["explained"].notna().any():
        sentences["more-variance-within-classes-late"] = _covariates_sentence(tables[COVARIATES])
    return sentences


def _null_sentence(tables: Mapping[str, pd.DataFrame]) -> str:
    sites = tables[SPECIFICITY]
    parts = [
        f"ω² is {sites['null_omega_squared'].mean():.2f} (here {sites['omega_squared'].mean():.2f}, means over sites)",
        f"class means differ by {_rms(sites['null_between_class_sd']):.4f} gate units "
        f"(here {_rms(sites['between_class_sd']):.4f}, noise of the means included)",
    ]
    decoded = tables.get(DECODABILITY)
    if decoded is not None and decoded.get("null_accuracy", pd.Series(dtype=float)).notna().any():
        parts.append(
            f"a linear classifier tells the chosen classes apart in {percent(decoded['null_accuracy'].max())} of the "
            f"images at the best site (here {percent(decoded['accuracy'].max())}, chance "
            f"{percent(decoded['chance'].max())})"
        )
    return f"With fresh weights and the same images {', '.join(parts[:-1])} and {parts[-1]}."


def _covariates_sentence(table: pd.DataFrame) -> str:
    explained = np.maximum(table["explained"].to_numpy(dtype=np.float64), 0.0)
    most = int(np.nanargmax(explained))
    return (
        f"Brightness, contrast and mean colour of the images explain {percent(float(np.nanmean(explained)))} of the "
        f"variance within classes on average over sites, {percent(explained[most])} at {table['site'].iloc[most]}."
    )


def _rms(values: pd.Series) -> float:
    return float((values**2).mean() ** 0.5)
