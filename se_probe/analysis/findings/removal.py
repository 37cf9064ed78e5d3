"""Claim 5 measured: what accuracy costs when the gates of the last stage are taken away, against the other stages."""

from collections.abc import Sequence
from dataclasses import dataclass

from se_probe.analysis.findings.depth import SOURCE
from se_probe.analysis.findings.evidence import Evidence
from se_probe.analysis.findings.finding import Finding, Verdict, above
from se_probe.analysis.findings.thresholds import MARGINAL_LOSS
from se_probe.analysis.findings.words import limits, listed, names, undecided
from se_probe.analysis.outcomes import Changes
from se_probe.analysis.stats.paired import Strata
from se_probe.analysis.stats.proportions import flip_interval

REMOVALS = {
    "identity": "here every one of them is set to 1 (or to an even split over branches), so that nothing is scaled",
    "mean": "here every one of them is held at its mean, so that only what depends on the image is lost",
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

    Supported where top-1 accuracy falls by less than `MARGINAL_LOSS` points, and by less than without the gates of
    any other stage, all on the same images; the intervals are for other images of these classes. Since the last stage
    must matter less than each other one, all comparisons have to agree, and none is corrected for their number.
    """
    rows = {stage: _row(evidence, changes, stage, replacement) for stage in evidence.stages}
    last = rows.pop(evidence.stages[-1])
    if last is None:
        return None
    key = f"last-stage-matters-less-{replacement}"
    claim = f"The gates of the last stage matter less and can be removed at a marginal loss ({SOURCE}): "
    claim += f"{REMOVALS[replacement]}."
    if not changes.labelled.any():
        reason = "The network has no unit for the class of any image, so that there is no accuracy."
        return undecided(key, claim, reason, evidence.last_stage)
    loss = _loss(changes, last)
    others = {stage: row for stage, row in rows.items() if row is not None}
    leads = {stage: _lead(changes, last, row) for stage, row in others.items()}
    statement = _statement(evidence, changes, loss)
    for stage, lead in leads.items():
        statement += f" Without those of stage {stage} it falls by {_loss(changes, others[stage])}, {lead} more."
    missing = [str(stage) for stage in rows if stage not in others]
    if missing:
        statement += f" It was not measured without those of stage {', '.join(missing)}."
    verdict = _verdict(loss, list(leads.values()), complete=not missing)
    words = f"{statement} {NOT_RETRAINED}"
    return Finding(key, claim, verdict, words, loss.value, loss.interval, names(evidence.last_stage))


def _row(evidence: Evidence, changes: Changes, stage: int, replacement: str) -> int | None:
    """The intervention that replaces the gates of a stage, all of them and no others."""
    members = {site.name for site in evidence.sites if site.site.stage == stage}
    pairs = zip(changes.interventions["sites"], changes.interventions["replacement"], strict=True)
    found = [row for row, (sites, kind) in enumerate(pairs) if set(sites.split(",")) == members and kind == replacement]
    return found[0] if found else None


def _loss(changes: Changes, row: int) -> Points:
    """Accuracy lost by an intervention."""
    return _points(changes.strata("top1"), row)


def _lead(changes: Changes, last: int, other: int) -> Points:
    """What another intervention loses more than the one at the last stage, image by image."""
    return _points(changes.difference("top1", other, last), 0)


def _points(units: Strata, column: int) -> Points:
    change = flip_interval(units)
    return Points(*(-100 * float(values[column]) for values in (change.estimate, change.high, change.low)))


def _verdict(loss: Points, leads: Sequence[Points], *, complete: bool) -> Verdict:
    """Without all other stages the claim can fall and cannot stand."""
    opposite: dict[Verdict, Verdict] = {"supported": "not supported", "not supported": "supported"}
    over = above(loss.interval, MARGINAL_LOSS)
    verdicts = [opposite.get(over, over), *(above(lead.interval, 0.0, MARGINAL_LOSS) for lead in leads)]
    if "not supported" in verdicts:
        return "not supported"
    return "supported" if complete and leads and set(verdicts) == {"supported"} else "cannot be judged"


def _statement(evidence: Evidence, changes: Changes, loss: Points) -> str:
    labelled = int(changes.labelled.sum())
    classes = len(set(changes.labels[changes.labelled]))
    return (
        f"Without the gates of {listed(evidence.last_stage)} top-1 accuracy, {100 * changes.clean_mean('top1'):.1f} %, "
        f"falls by {loss} (95 % interval over images of these classes; marginal up to {MARGINAL_LOSS:g}), on "
        f"{labelled} images of {classes} classes with equal weights."
    )
