"""Claim 5 by one's own measure: whether the gates of the last stage matter less than those of the other stages."""

from dataclasses import replace

import numpy as np

from se_probe.analysis.findings.evidence import Evidence
from se_probe.analysis.findings.finding import Finding, above
from se_probe.analysis.findings.removal import NOT_RETRAINED, REMOVALS
from se_probe.analysis.findings.sentences import PAPER, listed, names
from se_probe.analysis.outcomes import Changes, Cost
from se_probe.analysis.stats.paired import Strata, paired_interval

FEWEST_MEASURED = 2
# A loss with its limits.
Limited = tuple[float, float, float]


def last_stage_by_own_measure(evidence: Evidence, changes: Changes, replacement: str) -> Finding | None:
    """Whether the other stages lose more on average than the last one; None where that one was not replaced.

    Which loss is marginal depends on the measure, so that this part of the claim is left out. The intervals are for
    other images of these classes; that of the average is the mean of those of the stages, as in `last_stage_removed`.
    """
    replaced = [(",".join(names(evidence.of_stage(stage))), replacement) for stage in evidence.stages]
    *others, last = [changes.rows.get(key) for key in replaced]
    if last is None:
        return None
    cost, sites = changes.cost, names(evidence.last_stage)
    claim = Finding(
        f"last-stage-matters-less-{replacement}",
        f"The gates of the last stage matter less ({PAPER}): here with {REMOVALS[replacement]}, by {cost.name}.",
        title=f"The last stage's gates matter less ({replacement}, {cost.name})",
        quantity=f"{cost.loss_in_unit}: on average over the other stages, less that of the last stage",
        bar="the other stages have to lose more on average; which loss is marginal the measure does not say",
    )
    if changes.labelled.sum() < FEWEST_MEASURED:
        return claim.undecided(f"Fewer than two images were measured by {cost.name}.", sites)
    measured = [row for row in others if row is not None]
    if len(measured) < len(others) or not others:
        reason = "Not every other stage was replaced, so that there is nothing to compare the last stage with."
        more = f"ablate --with {replacement} --sites stages" if others else ""
        return replace(claim, next_command=more).undecided(reason, sites)
    leads = [_limited(_less(changes.losses, row, last), 0) for row in measured]
    value, low, high = (float(np.mean(ends)) for ends in zip(*leads, strict=True))
    return replace(
        claim,
        verdict=above((low, high), 0.0),
        result=f"other stages lose {_more((value, low, high), cost, 3)}",
        statement=_statement(evidence, changes, last, (value, low, high)),
        value=value,
        interval=(low, high),
        sites=sites,
    )


def _statement(evidence: Evidence, changes: Changes, last: int, lead: Limited) -> str:
    cost = changes.cost
    value, low, high = _limited(changes.losses, last)
    images = int(changes.labelled.sum())
    return (
        f"Without the gates of {listed(evidence.last_stage)} the {cost.loss} is {_amount(value, cost, 4)} "
        f"({low:.4g} to {high:.4g}, 95 % interval over images of these classes), on {images} images; untouched, "
        f"{cost.name} is {changes.clean_mean(cost.measure):.4g}. The other stages lose {_more(lead, cost, 4)}. "
        f"{NOT_RETRAINED}"
    )


def _more(lead: Limited, cost: Cost, digits: int) -> str:
    """Return a lead in words, "0.1 dB more on average (0.05 to 0.2)", or as so much less."""
    value, low, high = lead
    word = "more" if value >= 0 else "less"
    low, high = (low, high) if value >= 0 else (-high, -low)
    return f"{_amount(abs(value), cost, digits)} {word} on average ({low:.{digits}g} to {high:.{digits}g})"


def _amount(value: float, cost: Cost, digits: int) -> str:
    return f"{value:.{digits}g} {cost.unit}".rstrip()


def _limited(losses: Strata, column: int) -> Limited:
    """Return the mean of one column with its limits."""
    chosen = Strata(tuple(group[:, [column]] for group in losses.groups), losses.resampling_unit)
    found = paired_interval(chosen)
    return float(found.estimate[0]), float(found.low[0]), float(found.high[0])


def _less(losses: Strata, row: int, last: int) -> Strata:
    """Return one column less another, image by image."""
    return Strata(tuple(group[:, [row]] - group[:, [last]] for group in losses.groups), losses.resampling_unit)
