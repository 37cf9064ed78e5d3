"""Findings: each claim about gates as a tested statement with a number, an interval and a verdict."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from se_probe.analysis.findings.depth import (
    class_agnostic_early,
    class_specific_late,
    context_sentences,
    more_variance_late,
)
from se_probe.analysis.findings.evidence import Evidence, read_evidence
from se_probe.analysis.findings.finding import Finding, Verdict, findings_table
from se_probe.analysis.findings.health import branches_choose, gates_alive, nearly_constant, no_dead_channels
from se_probe.analysis.findings.importance import selective_channels_matter_more, specific_sites_matter_more
from se_probe.analysis.findings.last_stage import same_pattern_last, saturated_before_last
from se_probe.analysis.findings.removal import last_stage_findings
from se_probe.analysis.findings.sentences import names
from se_probe.analysis.findings.summary import summary
from se_probe.analysis.outcomes import AblationLike, Changes, outcome_changes
from se_probe.analysis.protocols import GateRecording
from se_probe.analysis.summary import Summary
from se_probe.errors import SeProbeError

__all__ = ["Finding", "Summary", "Verdict", "findings", "findings_table", "summary"]


def findings(
    recording: GateRecording,
    tables: Mapping[str, pd.DataFrame] | None = None,
    *,
    ablation: AblationLike | None = None,
) -> list[Finding]:
    """Judge the six claims of the SENet paper about gates, and questions of users about the health of theirs.

    Claims about classes rest on all classes with five images or more, and their intervals are for another draw of
    classes. Bars and minimum data are in `findings.thresholds`; `findings.finding.above` turns an interval into a
    verdict.

    Args:
        recording: gates of a network; unbounded gates are not judged in gate units.
        tables: those of `measure_tables`, computed as needed where None. With the tables of effects among them, whether
            channels with class-specific gates matter more is judged too.
        ablation: interventions on the same network. Where the sites of each stage were replaced together, claim 5
            rests on measured accuracy, or on one's own measure; where sites were replaced one by one, whether those
            with class-specific gates matter more is judged too.

    Returns:
        The claims in the paper's order, then the health of the gates, then the importance of sites.

    Raises:
        SeProbeError: the recording has no image of any chosen class, or the ablation is of other sites.

    Source: Hu et al., Squeeze-and-Excitation Networks (arXiv 1709.01507), "Role of Excitation".
    """
    evidence = read_evidence(recording, tables)
    changes = None if ablation is None else _changes(ablation, evidence)
    found = [
        class_agnostic_early(evidence),
        class_specific_late(evidence),
        saturated_before_last(evidence),
        same_pattern_last(evidence, recording),
        *last_stage_findings(evidence, changes),
        more_variance_late(evidence),
        gates_alive(evidence),
        no_dead_channels(evidence),
        nearly_constant(evidence),
        branches_choose(evidence),
        None if changes is None else specific_sites_matter_more(evidence, changes),
        selective_channels_matter_more(tables or {}),
    ]
    context = context_sentences(tables or {})
    return [
        replace(finding, statement=f"{finding.statement} {context[finding.key]}") if finding.key in context else finding
        for finding in found
        if finding is not None
    ]


def _changes(ablation: AblationLike, evidence: Evidence) -> Changes:
    changes = outcome_changes(ablation)
    replaced = [name for sites in changes.interventions["sites"] for name in sites.split(",")]
    if unknown := [name for name in replaced if name not in names(evidence.sites)]:
        raise SeProbeError(
            f"the ablation replaces {unknown[0]}, which is no site of the recording; expected an ablation of the "
            "network that was recorded"
        )
    return changes
