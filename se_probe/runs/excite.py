"""Record a network's gates over images of some classes, and draw the SENet paper's "Role of Excitation"."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pandas as pd

from se_probe.analysis import select_sites
from se_probe.analysis.covariates import read_factors
from se_probe.gates import signals_of
from se_probe.io.files import is_url
from se_probe.io.log import silence, tell
from se_probe.recording import Ranks, ranks_of_environment
from se_probe.recording.effects import require_effects_possible
from se_probe.recording.remote import copy_up, require_free
from se_probe.recording.run_folder import RECORDING, RunFolder
from se_probe.runs.analyse import write_analysis
from se_probe.runs.options import verb
from se_probe.runs.plan import Plan, classes_within, label_of, load_inputs, machine_of, plan_run
from se_probe.runs.presets import Preset, preset_of
from se_probe.runs.record import record_null, record_run, resumable, resumable_folder, write_run
from se_probe.runs.recorded import RunRecording
from se_probe.runs.settings import ExciteSettings
from se_probe.runs.shared_settings import DrawSettings
from se_probe.runs.steps import record_steps


@verb(ExciteSettings)
def excite(settings: ExciteSettings) -> RunRecording:
    """Record a network's gates over images of some classes, and draw the SENet paper's "Role of Excitation".

    Returns:
        The recording. Its folder holds `recording.zarr`, `figures/`, `tables/`, `run.json` and `report.html`. Of
        several checkpoints or a sweep it is the recording of the last, in `step-*/` beside the others, with the
        comparison in the folder above.

    Raises:
        SeProbeError: an input cannot be used. Nothing was written, or the recording is marked as incomplete.
        InterruptedRun: the run was stopped by SIGINT or SIGTERM; the message says how it is continued.
    """
    if settings.checkpoints is not None or settings.sweep is not None:
        last = record_steps(settings)
        return RunRecording.of_run(last, settings.data, folder=last.path.parents[1])
    with ranks_of_environment() as ranks, silence(not ranks.first):
        with ranks.first_alone("plan"):
            plan, shown, folder, url = _plan(settings, ranks)
        with folder.held() if ranks.first else nullcontext(), resumable(plan, folder, url):
            recording = record_run(plan, folder, settings, ranks)
            if ranks.first:
                if settings.null:
                    record_null(plan, folder, settings.execution)
                write_run(plan, recording, folder, shown)
                if settings.report:
                    known = {"data": settings.data, "factors": settings.factors}
                    write_analysis(recording, **known, progress=settings.progress)
                if url:
                    copy_up(folder.path, url, RECORDING)
                    tell("copied", f"{folder.path} to {url}")
        return RunRecording.of_run(recording, settings.data)


def _plan(settings: ExciteSettings, ranks: Ranks) -> tuple[Plan, DrawSettings, RunFolder, str | None]:
    """Return the run, what the figures show, the run's folder, and the URL to which it is copied."""
    preset = preset_of(settings.preset)
    # Refuse contradictions before a network is loaded.
    execution = settings.execution
    if "effect" in signals_of(settings.capture):
        require_effects_possible(execution, settings.effect_of)
    machine = machine_of(settings, settings.batch_size)
    machine = replace(machine, device=ranks.device(machine.device))
    url = str(settings.out) if settings.out is not None and is_url(settings.out) else None
    if url and not (settings.overwrite or settings.resume):
        require_free(url, RECORDING)
    folder = resumable_folder(settings, label_of(settings.network(preset.model)), url, ranks)
    model, selection = load_inputs(settings, preset)
    if settings.factors is not None:  # refuse a wrong file before images are recorded
        chosen = [entry.sample.path for entry in selection.entries if entry.role == "chosen"]
        read_factors(settings.factors, pd.DataFrame({"path": chosen}))
    within = classes_within(selection, settings.within)
    plan = plan_run(settings, model, selection, machine, record_sites=settings.record_sites, ranks=ranks.size)
    if preset.note:
        tell("preset", f"{settings.preset}, {preset.source}: {preset.note}")
    channels = settings.channels or preset.channels
    shown = DrawSettings(sites=_sites(settings, plan, preset), channels=channels, within=within, seed=settings.seed)
    return plan, shown, folder, url


def _sites(settings: ExciteSettings, plan: Plan, preset: Preset) -> tuple[str, ...] | None:
    """Return the sites of the figures; a preset's only if the network has them all."""
    select_sites(plan.discovery.sites, settings.sites)
    if settings.sites is not None or preset.sites is None:
        return None if settings.sites is None else tuple(settings.sites)
    if {site.name for site in plan.discovery.sites}.issuperset(preset.sites):
        return preset.sites
    missing = ", ".join(preset.sites)
    tell("note", f"the preset's sites {missing} are not all in this network; the default is shown")
    return None
