"""Measure a recording, judge the papers' claims, and write tables, figures and the report, without the network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from se_probe.ablation import Ablation, open_ablation
from se_probe.analysis import measure_tables, signal_tables
from se_probe.analysis.ablation import ablation_tables
from se_probe.analysis.branches import branch_tables, has_branches
from se_probe.analysis.findings import findings
from se_probe.io.log import tell
from se_probe.recording import Recording
from se_probe.recording.run_folder import RunFolder

if TYPE_CHECKING:
    from se_probe.runs.artifacts import Artifacts


def write_analysis(recording: Recording, *, data: str | Path | None = None) -> Path:
    """Measure the gates of a recording, judge the papers' claims, and write tables and `report.html` into its folder.

    Args:
        recording: a recording with images of a chosen class.
        data: where the images lie now, if not where the recording says.

    Returns:
        The report's path.

    Raises:
        SeProbeError: no image of a chosen class was recorded, or the folder cannot be written.
    """
    from se_probe.report import write_report
    from se_probe.runs.artifacts import Artifacts  # these bring Matplotlib, for which the first image need not wait
    from se_probe.runs.draw import measures_drawn

    folder = RunFolder(recording.path.parent)
    artifacts = Artifacts(folder.path)
    tables = measure_tables(recording)
    artifacts.tables(tables)
    if has_branches(recording):
        artifacts.tables(branch_tables(recording, recording.provenance.get("cardinality")))
    for signal in recording.signals[1:]:
        artifacts.tables(signal_tables(recording.of(signal), signal))
    artifacts.figures(measures_drawn(recording, tables))
    ablation = open_ablation(folder.path) if folder.ablation.exists() else None
    if ablation is not None:
        write_interventions(ablation, folder, artifacts, tables["site_specificity.csv"])
    found = findings(recording, tables, ablation=ablation)
    for finding in found:
        tell("finding", f"{finding.verdict}: {finding.claim}")
        tell("", finding.statement, logging.DEBUG)
    report = write_report(folder.path, findings=found, data=data)
    tell("report", report.resolve().as_uri())
    return report


def write_interventions(ablation: Ablation, folder: RunFolder, artifacts: Artifacts, specificity: pd.DataFrame) -> None:
    """Write the tables and draw the figures of what interventions did."""
    from se_probe.runs.draw import interventions_drawn

    costs = pd.read_csv(folder.costs) if folder.costs.is_file() else None
    tables = ablation_tables(ablation, costs)
    model = ablation.provenance["model"]
    words = f"{model['name']}, {model['weights']}{'' if ablation.complete else ' · INCOMPLETE RUN'}"
    artifacts.tables(tables)
    artifacts.figures(interventions_drawn(tables, model=words, demo=ablation.demo, specificity=specificity))
