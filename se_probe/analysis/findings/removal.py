"""Claim 5, whether the gates of the last stage matter less: from interventions, or from the recording alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from se_probe.analysis.findings.evidence import Evidence
from se_probe.analysis.findings.finding import Finding, Verdict, above, all_of, below
from se_probe.analysis.findings.sentences import PAPER, limits, listed, names, percent, too_few_images
from se_probe.analysis.findings.thresholds import MARGINAL_LOSS
from se_probe.analysis.outcomes import NLL, Changes, Cost
from se_probe.analysis.stats.paired import Strata, flip_interval, paired_interval

REMOVALS = {
    "identity": "every gate of it set to 1 (or to an even split over branches), so that nothing is scaled",
    "mean": "every gate of it held at its mean, so that only what depends on the image is lost",
}
"""The replacements that take gates away, which are different questions, in words."""
NOT_RETRAINED = "The network was not trained again, after which it may lose less."
NOT_IN_A_RECORDING = "What removing gates costs in accuracy shows only when the network is run without them."
STAGES_MISSING = (
    "The interventions at hand replace other sites; those of the last stage together, and of each other stage, are "
    "needed: run ablate with --sites stages and --with mean or identity."
)
FEWEST_MEASURED = 2


@dataclass(frozen=True)
class Loss:
    """A loss of top-1 accuracy in percentage points, or of the user's metric in its unit, with its 95 % limits."""

    value: float
    interval: tuple[float, float]

    @property
    def gain(self) -> "Loss":
        """The same with the opposite sign."""
        low, high = self.interval
        return Loss(-self.value, (-high, -low))


def last_stage_findings(evidence: Evidence, changes: Changes | None) -> list[Finding]:
    """Claim 5 for each replacement of the whole last stage, else from the recording alone."""
    if changes is None:
        return [last_stage_matters_less(evidence)]
    judge = last_stage_removed if changes.cost == NLL else last_stage_by_own_measure
    found = []
    for replacement in REMOVALS:
        keys = {stage: (",".join(names(evidence.of_stage(stage))), replacement) for stage in evidence.stages}
        rows = {stage: changes.rows[key] for stage, key in keys.items() if key in changes.rows}
        last = rows.pop(evidence.stages[-1], None)
        if last is not None:
            found.append(judge(evidence, changes, replacement, last, rows))
    return found or [last_stage_matters_less(evidence, ablated=True)]


def last_stage_matters_less(evidence: Evidence, *, ablated: bool = False) -> Finding:
    """Claim 5 from a recording alone, or with interventions (`ablated`) that are not of the last stage as a whole."""
    last = evidence.last_stage
    claim = Finding(
        "last-stage-matters-less",
        f"The gates of the last stage matter less and can be removed at a marginal loss ({PAPER}).",
        title="The last stage's gates matter less",
        quantity="standard deviation over images of the last stage's gates, gate units",
        next_command="ablate --with mean --sites stages",
    )
    cost = STAGES_MISSING if ablated else NOT_IN_A_RECORDING
    unbounded = f"Gates are unbounded at {listed(last)}, so that there is no unit in which they are near constant."
    if reason := too_few_images(evidence) if all(site.site.bounded for site in last) else unbounded:
        return claim.undecided(f"{cost} {reason}", names(last))
    spread, *earlier = (
        float(np.sqrt(np.mean([site.sd**2 for site in sites])))
        for sites in (last, [site for site in evidence.bounded if site not in last])
        if sites
    )
    before = f", against {earlier[0]:.4f} in earlier stages" if earlier else ""
    each = "; ".join(
        f"{site.name} mean gate {site.mean_gate:.2f}, standard deviation over images {site.sd:.4f}, "
        f"{percent(site.still)} of its channels hardly move"
        for site in last
    )
    return replace(
        claim,
        result="not measured, a recording alone cannot tell",
        statement=f"{cost} What the recording tells: a constant in place of each channel's gate would be off by "
        f"{spread:.4f} gate units (root mean square over images) in the last stage{before}. {each}.",
        value=spread,
        sites=names(last),
    )


def last_stage_removed(
    evidence: Evidence, changes: Changes, replacement: str, last: int, others: Mapping[int, int]
) -> Finding:
    """Claim 5 by top-1 accuracy, from the row of the last stage and those of the `others`, by stage.

    Supported where accuracy falls by less than `MARGINAL_LOSS` points, and by at least as much more on average
    without the gates of another stage, all on the same images; the intervals are for other images of these classes.
    """
    missing = [str(stage) for stage in evidence.stages[:-1] if stage not in others]
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
    leads = [_points(changes.difference("top1", row, last)) for row in others.values()]
    lead = _mean(leads) if leads else None
    more = f", other stages {lead.value:z.1f} more" if lead else ""
    sentences = [
        f"Without the gates of {listed(evidence.last_stage)} top-1 accuracy, {100 * changes.clean_mean('top1'):.1f} %, "
        f"{_moves(loss)} (95 % interval over images of these classes; marginal below {MARGINAL_LOSS:g}), on "
        f"{changes.labelled.sum()} images of {len(set(changes.labels[changes.labelled]))} classes with equal weights.",
        *(
            f"Without those of stage {stage} it {_moves(_points(changes.strata('top1'), row))}."
            for stage, row in others.items()
        ),
    ]
    if lead:
        sentences.append(f"On average the other stages lose {_in_points(lead)} more; counts above {MARGINAL_LOSS:g}.")
    if missing:
        stages = ", ".join(missing)
        sentences.append(f"It was not measured without those of stage {stages}; --sites stages measures all.")
    return replace(
        claim,
        verdict=_verdict(loss, None if missing else lead),
        result=f"top-1 {'rises' if loss.value < 0 else 'falls'} by {abs(loss.value):.1f} points{more}, bar "
        f"{MARGINAL_LOSS:g}",
        statement=" ".join([*sentences, NOT_RETRAINED]),
        value=loss.value,
        interval=loss.interval,
        sites=names(evidence.last_stage),
        next_command=f"ablate --with {replacement} --sites stages" if missing else "",
    )


def _points(units: Strata, column: int = 0) -> Loss:
    change = flip_interval(units)
    value, low, high = (-100 * float(ends[column]) for ends in (change.estimate, change.high, change.low))
    return Loss(value, (low, high))


def _mean(leads: Sequence[Loss]) -> Loss:
    """The mean over stages, with the means of their limits, as if all erred in the same direction."""
    low, high = np.mean([lead.interval for lead in leads], axis=0).tolist()
    return Loss(float(np.mean([lead.value for lead in leads])), (low, high))


def _verdict(loss: Loss, lead: Loss | None) -> Verdict:
    """Without all other stages, and so no lead, the claim can fall by its loss and cannot stand."""
    marginal = below(loss.interval, MARGINAL_LOSS)
    if lead is None:
        return "not supported" if marginal == "not supported" else "cannot be judged"
    return all_of([marginal, above(lead.interval, MARGINAL_LOSS)])


def _in_points(loss: Loss) -> str:
    return f"{loss.value:z.1f} points ({limits(loss.interval, 1)})"


def _moves(loss: Loss) -> str:
    return f"falls by {_in_points(loss)}" if loss.value >= 0 else f"rises by {_in_points(loss.gain)}"


def last_stage_by_own_measure(
    evidence: Evidence, changes: Changes, replacement: str, last: int, others: Mapping[int, int]
) -> Finding:
    """Judge claim 5 by the user's metric: whether the other stages lose more on average than the last one.

    Which loss is marginal depends on the metric, so this part of the claim is left out.
    """
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
    stages = evidence.stages[:-1]
    if len(others) < len(stages) or not stages:
        reason = "Not every other stage was replaced, so that there is nothing to compare the last stage with."
        more = f"ablate --with {replacement} --sites stages" if stages else ""
        return replace(claim, next_command=more).undecided(reason, sites)
    lead = _mean([_own_loss(changes.losses, row, last) for row in others.values()])
    loss = _own_loss(changes.losses, last)
    low, high = loss.interval
    return replace(
        claim,
        verdict=above(lead.interval, 0.0),
        result=f"other stages lose {_more(lead, cost, 3)}",
        statement=f"Without the gates of {listed(evidence.last_stage)} the {cost.loss} is "
        f"{_amount(loss.value, cost, 4)} ({low:.4g} to {high:.4g}, 95 % interval over images of these classes), on "
        f"{changes.labelled.sum()} images; untouched, {cost.name} is {changes.clean_mean(cost.measure):.4g}. The other "
        f"stages lose {_more(lead, cost, 4)}. {NOT_RETRAINED}",
        value=lead.value,
        interval=lead.interval,
        sites=sites,
    )


def _own_loss(losses: Strata, row: int, less: int | None = None) -> Loss:
    """The mean loss under one intervention, or image by image less that under another."""
    groups = tuple(group[:, [row]] - (0 if less is None else group[:, [less]]) for group in losses.groups)
    found = paired_interval(Strata(groups, losses.resampling_unit))
    return Loss(float(found.estimate[0]), (float(found.low[0]), float(found.high[0])))


def _more(lead: Loss, cost: Cost, digits: int) -> str:
    """`0.1 dB more on average (0.05 to 0.2)`, or so much less."""
    word, shown = ("more", lead) if lead.value >= 0 else ("less", lead.gain)
    low, high = shown.interval
    return f"{_amount(shown.value, cost, digits)} {word} on average ({low:.{digits}g} to {high:.{digits}g})"


def _amount(value: float, cost: Cost, digits: int) -> str:
    return f"{value:.{digits}g} {cost.unit}".rstrip()
