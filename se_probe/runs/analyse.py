"""Measure a recording, judge the papers' claims, and write tables, figures and the report, without the network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from se_probe.ablation import Ablation, open_ablation
from se_probe.analysis import beside_null, image_covariates, measure_tables, signal_tables, site_covariates
from se_probe.analysis.ablation import ablation_tables
from se_probe.analysis.branches import branch_tables, has_branches
from se_probe.analysis.covariates import factor_tables, read_factors
from se_probe.analysis.effects import effect_tables
from se_probe.analysis.findings import Finding, Summary, findings
from se_probe.analysis.findings.depth import COVARIATES
from se_probe.demo.stimuli import factor_row
from se_probe.errors import SeProbeError
from se_probe.images.decode import UndecodableImageError
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.recording import Recording, open_recording
from se_probe.recording.guard import is_incomplete
from se_probe.recording.run_folder import RunFolder
from se_probe.report.explorer import chosen_images
from se_probe.report.facts import run_facts
from se_probe.report.thumbnails import open_recorded
from se_probe.report.write import summary_of, write_report
from se_probe.runs.artifacts import Artifacts, tell_summary
from se_probe.runs.draw import interventions_drawn, measures_drawn
from se_probe.runs.joining import NAMED
from se_probe.runs.options import OnResume
from se_probe.runs.settings import AblateSettings


def write_analysis(
    recording: Recording, *, data: str | Path | None = None, factors: str | Path | None = None, progress: bool = True
) -> Path:
    """Measure the gates of a recording, judge the papers' claims, and write tables and `report.html` into its folder.

    Args:
        recording: a recording with images of a chosen class.
        data: folder of the images, for thumbnails and brightness; paths stored in the recording are never opened.
        factors: a file of known factors of the images, see `analysis.covariates.read_factors`; those of the demo are
            known.
        progress: whether to show progress.

    Returns:
        The report's path.

    Raises:
        SeProbeError: no image of a chosen class was recorded, the factors cannot be read, or the folder cannot be
            written.
    """
    report, summary, found = _analyse(recording, data, factors, progress)
    if summary is not None:
        tell_summary(summary, (f"{finding.verdict}: {finding.claim} {finding.statement}" for finding in found))
    tell("report", report.resolve().as_uri())
    return report


def update_report(recording: Recording, *, data: str | Path | None, progress: bool) -> None:
    """Write the report of a run again, with a result that joined it, and log only where it is."""
    report, _, _ = _analyse(recording, data, None, progress)
    tell("report", report.resolve().as_uri())


def _analyse(
    recording: Recording, data: str | Path | None, factors: str | Path | None, progress: bool
) -> tuple[Path, Summary | None, list[Finding]]:
    with status("measuring gates", shown=progress):
        found = _measure(recording, data, factors)
    with status("writing the report", shown=progress):
        folder = recording.path.parent
        options = run_facts(folder).get("options")
        summary = summary_of(recording, found, arguments_of(options, recording), joining_of(options, recording))
        return write_report(folder, findings=found, summary=summary, data=data), summary, found


def _measure(recording: Recording, data: str | Path | None, factors: str | Path | None) -> list[Finding]:
    """Write the tables and figures of all measures, and return the findings."""
    folder = RunFolder(recording.path.parent)
    artifacts = Artifacts(folder.path)
    tables = measure_tables(recording)
    if folder.null.exists() and not is_incomplete(folder.null):
        tables = beside_null(tables, measure_tables(open_recording(folder.null)))
    if (covariates := _covariates(recording, data)) is not None:
        tables |= {COVARIATES: site_covariates(recording, covariates)}
    tables |= effect_tables(recording)
    if (known := _factors(recording, factors)) is not None:
        tables |= factor_tables(recording, known)
    artifacts.tables(tables)
    if has_branches(recording):
        artifacts.tables(branch_tables(recording, recording.provenance.get("cardinality")))
    for signal in [name for name in recording.signals[1:] if name != "effect"]:
        artifacts.tables(signal_tables(recording.of(signal), signal))
    artifacts.figures(measures_drawn(recording, tables))
    ablation = open_ablation(folder.path) if folder.ablation.exists() else None
    if ablation is not None:
        _write_interventions(ablation, folder, artifacts, tables["site_specificity.csv"])
    return findings(recording, tables, ablation=ablation)


def _covariates(recording: Recording, data: str | Path | None) -> pd.DataFrame | None:
    """Return brightness, contrast and mean colour of the chosen images, None if some cannot be opened."""
    images = chosen_images(recording)
    try:
        opened = open_recorded(recording, data)
        rows = [image_covariates(np.asarray(opened(path)).transpose(2, 0, 1)[None] / 255) for path in images["path"]]
    except (SeProbeError, UndecodableImageError):
        return None
    return pd.concat(rows, ignore_index=True).set_index(images.index)


def _factors(recording: Recording, file: str | Path | None) -> pd.DataFrame | None:
    """Return the known factors of the chosen images, from a file or the demo's drawings, if any."""
    images = chosen_images(recording)
    if file is not None:
        return read_factors(file, images)
    if recording.provenance["data"]["title"] != "demo":
        return None
    return pd.DataFrame([factor_row(path) for path in images["path"]], index=images.index)


def arguments_of(options: object, recording: Recording) -> str:
    """Return the command-line arguments that name the network and the images of a run.

    They come from `options` of its `run.json`, or for a run of an earlier version from its recording.
    """
    inputs = [item.name for item in AblateSettings.options() if item.on_resume is OnResume.INPUT]
    return shlex.join(_given(_known_options(options, recording), inputs))


def joining_of(options: object, recording: Recording) -> str:
    """Return the command-line arguments that join a run, and those that must not be taken from a recording.

    A stopped run cannot be joined: its network and images are named instead.
    """
    if not recording.complete:
        return arguments_of(options, recording)
    facts = recording.provenance
    again = ["checkpoint", "model_args", "input_size", "random_weights"]
    again += ["model"] * (facts["model"]["source"] not in NAMED) + ["data"] * (facts["data"]["title"] != "demo")
    return shlex.join(["--run", str(recording.path.parent), *_given(_known_options(options, recording), again)])


def _known_options(options: object, recording: Recording) -> Mapping[str, Any]:
    if isinstance(options, Mapping):
        return options
    model, data = recording.provenance["model"]["name"], recording.provenance["data"].get("location")
    return {"model": model, "data": data, "demo": recording.demo and data is None}


def _given(options: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the command-line arguments for those of these options that are not at their default."""
    return [
        word
        for item in AblateSettings.options()
        if item.name in names and options.get(item.name, item.default) != item.default
        for word in item.words(options[item.name])
    ]


def _write_interventions(
    ablation: Ablation, folder: RunFolder, artifacts: Artifacts, specificity: pd.DataFrame
) -> None:
    """Write the tables and figures of interventions."""
    costs = pd.read_csv(folder.costs) if folder.costs.is_file() else None
    tables = ablation_tables(ablation, costs)
    model = ablation.provenance["model"]
    words = f"{model['name']}, {model['weights']}{'' if ablation.complete else ' · INCOMPLETE RUN'}"
    artifacts.tables(tables)
    artifacts.figures(interventions_drawn(tables, model=words, demo=ablation.demo, specificity=specificity))
