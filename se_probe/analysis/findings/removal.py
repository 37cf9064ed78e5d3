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
    """A loss of top-1 accuracy in percentage points, with its 95 % limits."""

    value: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.value:z.1f} points ({limits(self.interval, 1)})"

    @property
    def moves(self) -> str:
        """`falls by …`, or `rises by …` where the loss is negative."""
        low, high = self.interval
        return f"falls by {self}" if self.value >= 0 else f"rises by {Points(-self.value, (-high, -low))}"


def last_stage_removed(evidence: Evidence, changes: Changes, replacement: str) -> Finding | None:
    """Claim 5 with the gates of the last stage replaced; None where that was not done.

    Supported where top-1 accuracy falls by less than `MARGINAL_LOSS` points, and by at least as much more on average
    without the gates of another stage, all on the same images; the intervals are for other images of these classes.
    """
    replaced = {stage: (",".join(names(evidence.of_stage(stage))), replacement) for stage in evidence.stages}
    rows = {stage: changes.rows[key] for stage, key in replaced.items() if key in changes.rows}
    last = rows.pop(evidence.stages[-1], None)
    if last is None:
        return None
    missing = [str(stage) for stage in evidence.stages[:-1] if stage not in rows]
    claim = Finding(
        f"last-stage-matters-less-{replacement}",
        f"The gates of the last stage matter less and can be removed at a marginal loss ({PAPER}): here with "
        f"{REMOVALS[replacement]}.",
        title=f"The last stage's gates matter less ({replacement})",
        quantity="fall of top-1 accuracy without the gates of the last stage, percentage points",
        bar=f"a loss is marginal below {MARGINAL_LOSS:g} point; the other stages have to lose {MARGINAL_LOSS:g} point "
        "more on average",
    )
    if not changes.labelled.any():
        reason = "The network has no unit for the class of any image, so that there is no accuracy."
        return claim.undecided(reason, names(evidence.last_stage))
    loss = _points(changes.strata("top1"), last)
    lead = _mean_lead(changes, last, rows) if rows else None
    more = f", other stages {lead.value:z.1f} more" if lead else ""
    return replace(
        claim,
        verdict=_verdict(loss, lead, complete=not missing),
        result=f"top-1 {'rises' if loss.value < 0 else 'falls'} by {abs(loss.value):.1f} points{more}, bar "
        f"{MARGINAL_LOSS:g}",
        statement=_statement(evidence, changes, loss, lead, rows, missing),
        value=loss.value,
        interval=loss.interval,
        sites=names(evidence.last_stage),
        next_command=f"ablate --with {replacement} --sites stages" if missing else "",
    )


def _points(units: Strata, column: int) -> Points:
    """Accuracy lost by an intervention."""
    change = flip_interval(units)
    value, low, high = (-100 * float(ends[column]) for ends in (change.estimate, change.high, change.low))
    return Points(value, (low, high))


def _mean_lead(changes: Changes, last: int, others: Mapping[int, int]) -> Points:
    """What the other stages lose more than the last one, on average.

    Each is compared image by image. The limits are the means of theirs, as if all erred in the same direction.
    """
    leads = [_points(changes.difference("top1", row, last), 0) for row in others.values()]
    low, high = np.mean([lead.interval for lead in leads], axis=0).tolist()
    return Points(float(np.mean([lead.value for lead in leads])), (low, high))


def _verdict(loss: Points, lead: Points | None, *, complete: bool) -> Verdict:
    """Without all other stages the claim can fall by its loss, and cannot stand."""
    marginal = below(loss.interval, MARGINAL_LOSS)
    if lead is None or not complete:
        return "not supported" if marginal == "not supported" else "cannot be judged"
    return all_of([marginal, above(lead.interval, MARGINAL_LOSS)])


def _statement(
    evidence: Evidence,
    changes: Changes,
    loss: Points,
    lead: Points | None,
    others: Mapping[int, int],
    missing: list[str],
) -> str:
    sentences = [
        f"Without the gates of {listed(evidence.last_stage)} top-1 accuracy, {100 * changes.clean_mean('top1'):.1f} %, "
        f"{loss.moves} (95 % interval over images of these classes; marginal below {MARGINAL_LOSS:g}), on "
        f"{changes.labelled.sum()} images of {len(set(changes.labels[changes.labelled]))} classes with equal weights.",
        *(
            f"Without those of stage {stage} it {_points(changes.strata('top1'), row).moves}."
            for stage, row in others.items()
        ),
    ]
    if lead:
        sentences.append(f"On average the other stages lose {lead} more; counts above {MARGINAL_LOSS:g}.")
    if missing:
        sentences.append(
            f"It was not measured without those of stage {', '.join(missing)}; --sites stages measures all."
        )
    return " ".join([*sentences, NOT_RETRAINED])
