"""Record a network's gates over images of some classes, and draw the SENet paper's "Role of Excitation"."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from se_probe.analysis import select_sites
from se_probe.gates import signals_of
from se_probe.io.log import silence, tell
from se_probe.io.urls import is_url
from se_probe.recording import Ranks, Recording, ranks_of_environment
from se_probe.recording.effects import require_effects_possible
from se_probe.recording.remote import copy_up, require_free
from se_probe.recording.run_folder import RECORDING, RunFolder
from se_probe.runs.analyse import write_analysis
from se_probe.runs.machine import machine_of
from se_probe.runs.plan import Plan, Shown, classes_within, label_of, load_network, open_data, plan_run, select_images
from se_probe.runs.presets import Preset, preset_of
from se_probe.runs.record import record_null, record_run, resumable, resumable_folder, write_run
from se_probe.runs.recorded import RunRecording
from se_probe.runs.settings import ExciteSettings
from se_probe.runs.verb import verb


@verb(ExciteSettings)
def excite(settings: ExciteSettings) -> RunRecording:
    """Record a network's gates over images of some classes, and draw the SENet paper's "Role of Excitation".

    Returns:
        The recording. Its folder holds `recording.zarr`, `figures/`, `tables/`, `run.json` and `report.html`.

    Raises:
        SeProbeError: an input cannot be used. Nothing was written, or the recording is marked as incomplete.
        InterruptedRun: the run was stopped by SIGINT or SIGTERM; the message says how it is continued.
    """
    with ranks_of_environment() as ranks, silence(not ranks.first):
        with ranks.first_alone("plan"):
            plan = _plan(settings, ranks)
        return RunRecording.of_run(_run(settings, plan, ranks), settings.data)


@dataclass(frozen=True)
class _Place:
    """Where results go: the run's folder, and the URL to which it is copied at the end."""

    folder: RunFolder
    url: str | None


@dataclass(frozen=True)
class _Planned:
    """A run of `excite`: what is recorded, what the figures show, and where results go."""

    run: Plan
    shown: Shown
    place: _Place


def _plan(settings: ExciteSettings, ranks: Ranks) -> _Planned:
    preset = preset_of(settings.preset)
    # Contradictions are refused before a network is loaded.
    execution = settings.execution
    if "effect" in signals_of(settings.capture):
        require_effects_possible(execution, settings.effect_of)
    machine = machine_of(settings, settings.batch_size)
    machine = replace(machine, device=ranks.device(machine.device))
    place = _place(settings, label_of(settings.network(preset.model)), ranks)
    model = load_network(settings, preset.model)
    selection = select_images(settings, open_data(settings, model), preset)
    within = classes_within(selection, settings.within)
    run = plan_run(settings, model, selection, machine, "excite", record_sites=settings.record_sites, ranks=ranks.size)
    if preset.note:
        tell("preset", f"{settings.preset}, {preset.source}: {preset.note}")
    return _Planned(run, _shown(settings, run, preset, within), place)


def _place(settings: ExciteSettings, label: str, ranks: Ranks) -> _Place:
    url = _typed_url(settings.out)
    if url and not (settings.overwrite or settings.resume):
        require_free(url, RECORDING)
    return _Place(resumable_folder(settings, label, url, ranks), url)


def _shown(settings: ExciteSettings, run: Plan, preset: Preset, within: list[str]) -> Shown:
    """Return what the figures show; the sites of a preset only where the network has them all."""
    sites = settings.sites
    select_sites(run.discovery.sites, sites)
    if sites is None and preset.sites is not None:
        if {site.name for site in run.discovery.sites}.issuperset(preset.sites):
            sites = preset.sites
        else:
            missing = ", ".join(preset.sites)
            tell("note", f"the preset's sites {missing} are not all in this network; the default is shown")
    channels = preset.channels if settings.channels is None else settings.channels
    return Shown(sites, channels if isinstance(channels, int) else None, within, settings.seed)


def _run(settings: ExciteSettings, plan: _Planned, ranks: Ranks) -> Recording:
    """Record, and let the first process write figures, tables and report."""
    folder, url = plan.place.folder, plan.place.url
    with folder.held() if ranks.first else nullcontext(), resumable(plan.run, folder, url):
        recording = record_run(
            plan.run,
            folder,
            settings.execution,
            settings.capture,
            effect_of=settings.effect_of,
            resume=settings.resume,
            ranks=ranks,
        )
        if ranks.first:
            if settings.null:
                record_null(plan.run, folder, settings.execution)
            write_run(plan.run, recording, folder, plan.shown)
            if settings.report:
                write_analysis(recording, data=settings.data, progress=settings.progress)
            if url:
                copy_up(folder.path, url, RECORDING)
                tell("copied", f"{folder.path} to {url}")
    return recording


def _typed_url(place: str | Path | None) -> str | None:
    """Return a place that was given as a URL."""
    return str(place) if place is not None and is_url(place) else None
