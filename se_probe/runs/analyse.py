"""Measure a recording, judge the papers' claims, and write tables, figures and the report, without the network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from se_probe.ablation import Ablation, open_ablation
from se_probe.analysis import beside_null, image_covariates, measure_tables, signal_tables, site_covariates
from se_probe.analysis.ablation import ablation_tables
from se_probe.analysis.branches import branch_tables, has_branches
from se_probe.analysis.covariates import factor_tables, read_factors
from se_probe.analysis.effects import effect_tables
from se_probe.analysis.findings import Finding, findings
from se_probe.analysis.findings.depth import COVARIATES
from se_probe.demo.stimuli import factor_row
from se_probe.errors import SeProbeError
from se_probe.images.decode import UndecodableImageError
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.recording import Recording, open_recording
from se_probe.recording.guard import is_incomplete
from se_probe.recording.run_folder import RunFolder
from se_probe.runs.joining import NAMED
from se_probe.runs.options import OnResume
from se_probe.runs.settings import AblateSettings
from se_probe.runs.telling import tell_summary

if TYPE_CHECKING:
    from se_probe.runs.artifacts import Artifacts


def write_analysis(
    recording: Recording,
    *,
    data: str | Path | None = None,
    factors: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Measure the gates of a recording, judge the papers' claims, and write tables and `report.html` into its folder.

    Args:
        recording: a recording with images of a chosen class.
        data: the images, for thumbnails and their brightness; nothing that the recording names is opened.
        factors: a file of known factors of the images, see `analysis.covariates.read_factors`; those of the demo are
            known.
        progress: whether to show what is being done.

    Returns:
        The report's path.

    Raises:
        SeProbeError: no image of a chosen class was recorded, the factors cannot be read, or the folder cannot be
            written.
    """
    with status("measuring gates", shown=progress):
        found = _measured(recording, data, factors)
    with status("writing the report", shown=progress):
        from se_probe.report.facts import run_facts
        from se_probe.report.write import summary_of, write_report  # Matplotlib comes with it

        folder = recording.path.parent
        options = run_facts(folder).get("options")
        told = summary_of(recording, found, arguments_of(options, recording), joining_of(options, recording))
        report = write_report(folder, findings=found, summary=told, data=data)
    if told is not None:
        tell_summary(told, (f"{finding.verdict}: {finding.claim} {finding.statement}" for finding in found))
    tell("report", report.resolve().as_uri())
    return report


def _measured(recording: Recording, data: str | Path | None, factors: str | Path | None) -> list[Finding]:
    """Write the tables and figures of what was measured, and return what they show."""
    from se_probe.runs.artifacts import Artifacts  # these bring Matplotlib, for which the first image need not wait
    from se_probe.runs.draw import measures_drawn

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
        write_interventions(ablation, folder, artifacts, tables["site_specificity.csv"])
    return findings(recording, tables, ablation=ablation)


def _covariates(recording: Recording, data: str | Path | None) -> pd.DataFrame | None:
    """Return brightness, contrast and mean colour of the kept images, None if some cannot be opened."""
    from se_probe.report.explorer import chosen_images
    from se_probe.report.thumbnails import open_recorded

    images = chosen_images(recording)
    try:
        opened = open_recorded(recording, data)
        rows = [image_covariates(np.asarray(opened(path)).transpose(2, 0, 1)[None] / 255) for path in images["path"]]
    except (SeProbeError, UndecodableImageError):
        return None
    return pd.concat(rows, ignore_index=True).set_index(images.index)


def _factors(recording: Recording, file: str | Path | None) -> pd.DataFrame | None:
    """Return the known factors of the kept images: those of a file, or of the demo's drawings; None without."""
    from se_probe.report.explorer import chosen_images

    images = chosen_images(recording)
    if file is not None:
        return read_factors(file, images)
    if recording.provenance["data"]["title"] != "demo":
        return None
    return pd.DataFrame([factor_row(path) for path in images["path"]], index=images.index)


def arguments_of(options: object, recording: Recording) -> str:
    """Return the network and the images of a run as a command line names them, from the options in its `run.json`.

    A run of an earlier version has none there, and is named by what its recording says of both.
    """
    known = _known_options(options, recording)
    return shlex.join(
        _given(known, [item.name for item in AblateSettings.options() if item.on_resume is OnResume.INPUT])
    )


def joining_of(options: object, recording: Recording) -> str:
    """Return a run as a command line joins it, with what a recording may not choose named again.

    A recording that was stopped cannot be joined: its network and images are named.
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
    """Return the options of some names that are not at their default, as a command line has them."""
    return [
        word
        for item in AblateSettings.options()
        if item.name in names and options.get(item.name, item.default) != item.default
        for word in item.words(options[item.name])
    ]


def write_interventions(ablation: Ablation, folder: RunFolder, artifacts: Artifacts, specificity: pd.DataFrame) -> None:
    """Write the tables and draw the figures of what interventions did.

    Args:
        ablation: the outcomes.
        folder: the run's folder, which may hold a table of costs.
        artifacts: writes into it.
        specificity: table of `site_specificity` of the same run.
    """
    from se_probe.runs.draw import interventions_drawn

    costs = pd.read_csv(folder.costs) if folder.costs.is_file() else None
    tables = ablation_tables(ablation, costs)
    model = ablation.provenance["model"]
    words = f"{model['name']}, {model['weights']}{'' if ablation.complete else ' · INCOMPLETE RUN'}"
    artifacts.tables(tables)
    artifacts.figures(interventions_drawn(tables, model=words, demo=ablation.demo, specificity=specificity))
