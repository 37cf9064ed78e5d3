"""Run the scale experiment: the same images at several sizes through one network, from recordings to a verdict."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from se_probe.analysis.scale import example_images
from se_probe.analysis.shifts import overall_shifts, scale_summary, shift_sentences
from se_probe.errors import SeProbeError
from se_probe.images.changes import Enlarge, resampling
from se_probe.images.loader import Transform
from se_probe.images.open import Drawings
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.recording import Recording
from se_probe.recording.run_folder import JOINED_SCALE
from se_probe.runs.analyse import write_analysis
from se_probe.runs.artifacts import Artifacts
from se_probe.runs.conditions import (
    THUMBNAILS,
    Condition,
    Parts,
    record_conditions,
    thumbnail,
    transformed,
    write_thumbnails,
)
from se_probe.runs.joining import join, require_same, result_folder, with_classes
from se_probe.runs.machine import machine_of, require_one_process
from se_probe.runs.plan import Plan, label_of, load_network, open_data, plan_run, select_images
from se_probe.runs.presets import preset_of
from se_probe.runs.record import tell_warnings
from se_probe.runs.scale_result import ScaleRun, scale_tables, scales_drawn
from se_probe.runs.settings import SCALE_METHODS, ScaleSettings
from se_probe.runs.telling import tell_summary
from se_probe.runs.verb import verb


@verb(ScaleSettings)
def scale(settings: ScaleSettings) -> ScaleRun:
    """Record a network's gates over the same images at several scales, and test whether attention moves.

    Returns:
        The run. Its folder holds a recording for each scale in `scale-<scale>/`, `figures/`, `tables/` and
        `run.json`. With `run` it is the folder `scale` in that run's, whose report then has a section on scale.

    Raises:
        SeProbeError: an input cannot be used. Recordings that were begun are marked as incomplete.

    Source: Li et al., Selective Kernel Networks, arXiv 1903.06586, the analysis of attention weights.
    """
    require_one_process("the scale experiment")
    plan = _plan(settings)
    run = _record_all(plan)
    with status("testing and drawing", shown=settings.progress):
        _finish(run, plan.run)
    if plan.joined is not None:
        write_analysis(plan.joined, data=plan.settings.data, progress=settings.progress)
    return run


@dataclass(frozen=True)
class _Planned:
    """A run of `scale`: what is recorded at which scales, where, and the recording of a run that is joined."""

    settings: ScaleSettings
    run: Plan
    scales: list[float]
    parts: Parts
    joined: Recording | None


def _plan(settings: ScaleSettings) -> _Planned:
    settings, joined = join(settings)
    if joined is not None:
        settings = with_classes(settings, joined)
    preset = preset_of(settings.preset)
    scales = _ascending(preset.scales if settings.scales is None else settings.scales, settings)
    machine = machine_of(settings, settings.batch_size)
    label = f"scale-{label_of(settings.network(preset.model))}"
    parts = Parts(result_folder(settings, joined, JOINED_SCALE, label), "scale")
    parts.require_free(label, map(str, scales), overwrite=settings.overwrite)
    model = load_network(settings, preset.model)
    selection = select_images(settings, open_data(settings, model), preset)
    if joined is not None:
        require_same(joined, model, selection)
    plan = plan_run(settings, model, selection, machine, "scale")
    tell("scales", f"{', '.join(f'{item:g}×' for item in scales)}: {SCALE_METHODS[settings.by]}")
    return _Planned(settings, plan, scales, parts, joined)


def _ascending(scales: Sequence[float], settings: ScaleSettings) -> list[float]:
    """Return the scales in ascending order, once there are two or more that can be shown."""
    crop = settings.by == "crop"
    if not crop and not settings.uses_demo:
        raise SeProbeError("objects can be drawn larger in the demo's drawings only; add --demo, or use --by crop.")
    ordered = sorted({float(item) for item in scales})
    if len(ordered) < 2 or (crop and ordered[0] < 1):
        bound = "of 1 or more (a crop cannot show what is outside the image)" if crop else "above 0"
        raise SeProbeError(
            f"the scales {', '.join(f'{item:g}' for item in scales) or '(none)'} were asked for; expected two or more "
            f"different ones {bound}."
        )
    return ordered


def _at(plan: Plan, factor: float, by: str, then: Transform) -> Condition:
    """Return the selected images at a scale: what opens them, and the transform."""
    facts = {"factor": factor, "by": by, "method": SCALE_METHODS[by]}
    if by == "crop":
        larger = Enlarge(factor, resampling(plan.model.preprocessing), then)
        return Condition(str(factor), plan.selection, larger, facts)
    images = replace(plan.selection.images, source=Drawings(factor))
    return Condition(str(factor), replace(plan.selection, images=images), then, facts)


def _record_all(plan: _Planned) -> ScaleRun:
    run, by, parts = plan.run, plan.settings.by, plan.parts
    parts.clear()
    conditions = {factor: _at(run, factor, by, run.model.transform) for factor in plan.scales}
    recordings, _ = record_conditions(run, parts, conditions, exact=plan.settings.exact)
    paths = example_images(recordings[plan.scales[0]])
    thumbnails: dict[tuple[str, float], NDArray[np.uint8]] = {}
    for factor in plan.scales:
        shown = _at(run, factor, by, thumbnail)
        pictures = transformed(shown.selection, shown.transform, paths)
        thumbnails |= {(path, factor): pictures[path].numpy() for path in paths}
    write_thumbnails(parts.folder.path / THUMBNAILS, thumbnails)
    return ScaleRun(parts.folder.path, by, recordings, thumbnails)


def _finish(run: ScaleRun, plan: Plan) -> None:
    """Tell what was found, and write tables, figures and facts."""
    for recording in run.recordings.values():
        tell("wrote", str(recording.path), logging.DEBUG)
    warnings, blur = tell_warnings(run.base), _blur(plan, run)
    for line in blur:
        tell("warning", line, logging.WARNING)
    artifacts = Artifacts(run.path)
    artifacts.tables(scale_tables(run))
    artifacts.figures(scales_drawn(run))
    scales = {"factors": list(run.recordings), "by": run.by, "method": SCALE_METHODS[run.by]}
    more = {"warnings": [*warnings, *blur], "options": plan.options, "scales": scales, "complete": True}
    artifacts.facts({**plan.provenance, **more})
    overall = overall_shifts(run.tests)
    tell_summary(scale_summary(overall), shift_sentences(overall))


def _blur(plan: Plan, run: ScaleRun) -> list[str]:
    """Return a warning where crops have fewer pixels than the network takes in, so that enlarging blurs."""
    paths = list(dict.fromkeys(path for path, _ in run.thumbnails))
    sides = transformed(plan.selection, lambda image: torch.tensor(min(image.size)), paths)
    shortest = min(int(side) for side in sides.values())
    largest, needed = max(run.recordings), min(plan.model.input_size[1:])
    if run.by != "crop" or shortest / largest >= needed:
        return []
    return [
        f"images are as small as {shortest} pixels, so that crops at {largest:g}× have fewer than the {needed} of the "
        "network's input: enlarging blurs them, and gates move by that too"
    ]
