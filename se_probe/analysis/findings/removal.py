"""Claim 5 measured: what accuracy costs when the gates of the last stage are taken away, against the other stages."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from se_probe.analysis.findings.evidence import Evidence
from se_probe.analysis.findings.finding import Finding, Verdict, above, all_of, below
from se_probe.analysis.findings.sentences import PAPER, limits, listed, names
from se_probe.analysis.findings.thresholds import MARGINAL_LOSS
from se_probe.analysis.outcomes import Changes
from se_probe.analysis.stats.paired import Strata, flip_interval

REMOVALS = {
    "identity": "every gate of it set to 1 (or to an even split over branches), so that nothing is scaled",
    "mean": "every gate of it held at its mean, so that only what depends on the image is lost",
}
"""The replacements that take gates away, which are different questions, in words."""
NOT_RETRAINED = "The network was not trained again, after which it may lose less."


@dataclass(frozen=True)
class Points:
    """A number of percentage points of top-1 accuracy with its 95 % limits."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """The limits."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.value:z.1f} points ({limits(self.interval, 1)})"


def last_stage_removed(evidence: Evidence, changes: Changes, replacement: str) -> Finding | None:
    """Claim 5 with the gates of the last stage replaced; None where that was not done.

    Supported where top-1 accuracy falls by less than `MARGINAL_LOSS` points, and by at least as much more on average
    without the gates of another stage, all on the same images; the intervals are for other images of these classes.
    """
    rows = {stage: _row(evidence, changes, stage, replacement) for stage in evidence.stages}
    last = rows.pop(evidence.stages[-1])
    if last is None:
        return None
    claim = _claim(replacement)
    if not changes.labelled.any():
        reason = "The network has no unit for the class of any image, so that there is no accuracy."
        return claim.undecided(reason, names(evidence.last_stage))
    loss = _points(changes.strata("top1"), last)
    others = {stage: row for stage, row in rows.items() if row is not None}
    lead = _mean_lead(changes, last, others)
    missing = [str(stage) for stage in rows if stage not in others]
    return replace(
        claim,
        verdict=_verdict(loss, lead, complete=not missing),
        result=_result(loss, lead),
        statement=_statement(evidence, changes, loss, lead, others, missing),
        value=loss.value,
        interval=loss.interval,
        sites=names(evidence.last_stage),
        next_command=f"ablate --with {replacement} --sites stages" if missing else "",
    )


def _claim(replacement: str) -> Finding:
    return Finding(
        f"last-stage-matters-less-{replacement}",
        f"The gates of the last stage matter less and can be removed at a marginal loss ({PAPER}): here with "
        f"{REMOVALS[replacement]}.",
        title=f"The last stage's gates matter less ({replacement})",
        quantity="fall of top-1 accuracy without the gates of the last stage, percentage points",
        bar=f"a loss is marginal below {MARGINAL_LOSS:g} point; the other stages have to lose {MARGINAL_LOSS:g} point "
        "more on average",
    )


def _row(evidence: Evidence, changes: Changes, stage: int, replacement: str) -> int | None:
    """The intervention that replaces the gates of a stage, all of them and no others."""
    members = {site.name for site in evidence.sites if site.site.stage == stage}
    pairs = zip(changes.interventions["sites"], changes.interventions["replacement"], strict=True)
    found = [row for row, (sites, kind) in enumerate(pairs) if set(sites.split(",")) == members and kind == replacement]
    return found[0] if found else None


def _points(units: Strata, column: int) -> Points:
    """Accuracy lost by an intervention."""
    change = flip_interval(units)
    return Points(*(-100 * float(values[column]) for values in (change.estimate, change.high, change.low)))


def _mean_lead(changes: Changes, last: int, others: Mapping[int, int]) -> Points | None:
    """What the other stages lose more than the last one, on average; None without other stages.

    Each is compared image by image. The limits are the means of theirs, as if all erred in the same direction.
    """
    leads = [_points(changes.difference("top1", row, last), 0) for row in others.values()]
    if not leads:
        return None
    return Points(*(float(np.mean(ends)) for ends in zip(*((one.value, *one.interval) for one in leads), strict=True)))


def _verdict(loss: Points, lead: Points | None, *, complete: bool) -> Verdict:
    """Without all other stages the claim can fall by its loss, and cannot stand."""
    marginal = below(loss.interval, MARGINAL_LOSS)
    if lead is None or not complete:
        return "not supported" if marginal == "not supported" else "cannot be judged"
    return all_of([marginal, above(lead.interval, MARGINAL_LOSS)])


def _result(loss: Points, lead: Points | None) -> str:
    more = f", other stages {lead.value:z.1f} more" if lead else ""
    return (
        f"top-1 {'rises' if loss.value < 0 else 'falls'} by {abs(loss.value):.1f} points{more}, bar {MARGINAL_LOSS:g}"
    )


def _statement(
    evidence: Evidence,
    changes: Changes,
    loss: Points,
    lead: Points | None,
    others: Mapping[int, int],
    missing: list[str],
) -> str:
    labelled = int(changes.labelled.sum())
    classes = len(set(changes.labels[changes.labelled]))
    statement = (
        f"Without the gates of {listed(evidence.last_stage)} top-1 accuracy, {100 * changes.clean_mean('top1'):.1f} %, "
        f"{_moves(loss)} (95 % interval over images of these classes; marginal below {MARGINAL_LOSS:g}), on "
        f"{labelled} images of {classes} classes with equal weights."
    )
    for stage, row in others.items():
        statement += f" Without those of stage {stage} it {_moves(_points(changes.strata('top1'), row))}."
    if lead:
        statement += f" On average the other stages lose {lead} more; counts above {MARGINAL_LOSS:g}."
    if missing:
        statement += f" It was not measured without those of stage {', '.join(missing)}; --sites stages measures all."
    return f"{statement} {NOT_RETRAINED}"


def _moves(loss: Points) -> str:
    if loss.value >= 0:
        return f"falls by {loss}"
    return f"rises by {Points(-loss.value, -loss.high, -loss.low)}"
