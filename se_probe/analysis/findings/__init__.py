"""Findings: each claim about gates as a tested statement with a number, an interval and a verdict."""

from collections.abc import Mapping

import pandas as pd

from se_probe.analysis.findings.depth import class_agnostic_early, class_specific_late, more_variance_late
from se_probe.analysis.findings.evidence import read_evidence
from se_probe.analysis.findings.finding import COLUMNS, Finding, Verdict, findings_table
from se_probe.analysis.findings.health import branches_choose, gates_alive, nearly_constant, no_dead_channels
from se_probe.analysis.findings.last_stage import last_stage_matters_less, same_pattern_last, saturated_before_last
from se_probe.analysis.gates import GateRecording

__all__ = ["COLUMNS", "Finding", "Verdict", "findings", "findings_table"]


def findings(recording: GateRecording, tables: Mapping[str, pd.DataFrame] | None = None) -> list[Finding]:
    """Judge the six claims of the SENet paper about its gates, and what users ask about the health of theirs.

    `tables` are those of `measure_tables`; what is needed of them is computed where None.

    Returns the claims in the paper's order, then the health of the gates. Early and late are halves of the
    stages; where a verdict lies is in `findings.thresholds`. Claims about classes rest on all classes with five
    images or more, and their intervals are for another draw of classes.

    Raises:
        SeProbeError: the recording has no image of any chosen class.

    Source: Hu et al., Squeeze-and-Excitation Networks, "Role of Excitation".
    """
    evidence = read_evidence(recording, tables)
    found = [
        class_agnostic_early(evidence),
        class_specific_late(evidence),
        saturated_before_last(evidence),
        same_pattern_last(evidence, recording),
        last_stage_matters_less(evidence),
        more_variance_late(evidence),
        gates_alive(evidence),
        no_dead_channels(evidence),
        nearly_constant(evidence),
        branches_choose(evidence),
    ]
    return [finding for finding in found if finding is not None]
