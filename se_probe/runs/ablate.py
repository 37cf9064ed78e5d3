"""Measure what a network's gates are worth: record them, replace them, compare the outcomes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from se_probe.ablation import (
    Ablation,
    SiteGroup,
    class_mean_gates,
    mean_gates,
    measure,
    open_ablation,
    plan_interventions,
)
from se_probe.ablation.measure import Labels, gather_gates, passes_of, require_measurable
from se_probe.ablation.metric import Metric, read_metric
from se_probe.ablation.planning import SCOPES, ReplacementSpec, donated, parse_replacement, shuffled, swapped
from se_probe.ablation.results import AblationWriter
from se_probe.costs import cost_table
from se_probe.errors import SeProbeError
from se_probe.gates import Replacement
from se_probe.images import Selection
from se_probe.io.files import only_writer, remove, writing
from se_probe.io.log import tell
from se_probe.io.progress import progress_bar
from se_probe.labels import ImageClass
from se_probe.recording import Recording, open_recording
from se_probe.recording.engine import float32_precision
from se_probe.recording.memory import keep_freed_memory
from se_probe.recording.run_folder import RunFolder
from se_probe.runs.analyse import write_analysis
from se_probe.runs.artifacts import Artifacts
from se_probe.runs.joining import join, require_same, with_classes
from se_probe.runs.options import verb
from se_probe.runs.plan import Plan, classes_within, label_of, load_inputs, machine_of, plan_run, require_one_process
from se_probe.runs.presets import DEFAULT, DEFAULT_CHANNELS
from se_probe.runs.record import folder_of, record_run, write_run
from se_probe.runs.settings import AblateSettings
from se_probe.runs.shared_settings import DrawSettings


@verb(AblateSettings)
def ablate(settings: AblateSettings) -> Ablation:
    """Measure what replacing gates does to a network's predictions, or to your own metric, on the same images.

    The gates are recorded first, over all selected images: those of the chosen classes and those of every other class.
    Interventions are then measured on the same images. With `run`, the recording of that run is used instead.

    Returns:
        The outcomes. The run's folder holds what `excite` leaves there and `ablation.zarr`.

    Raises:
        SeProbeError: an input cannot be used. What was recorded and measured is kept, marked as incomplete.

    Source: SENet (arXiv 1709.01507), "Role of Excitation", which concludes from the gates that the last stage's
    blocks matter less; here it is measured.
    """
    require_one_process("an intervention")
    plan = _plan(settings)
    folder, recording = plan.folder, plan.joined
    if recording is None:
        recording = record_run(plan.run, folder)
        within = classes_within(plan.run.selection, None)
        write_run(
            plan.run, recording, folder, DrawSettings(channels=DEFAULT_CHANNELS, within=within, seed=settings.seed)
        )
    elif folder.ablation.exists():
        remove(folder.ablation)
    with only_writer(folder.ablation), writing(folder.ablation):
        sites = plan.run.discovery.sites
        costs = cost_table(plan.run.model.network, sites, plan.run.model.input_size)
        Artifacts(folder.path).tables({folder.costs.name: costs.assign(multiply_adds=costs["excitation"])})
        _measure(plan, plan.other or recording)
    tell("wrote", str(folder.ablation), logging.DEBUG)
    if settings.report:
        write_analysis(recording, data=settings.data, factors=settings.factors, progress=settings.progress)
    return open_ablation(folder.ablation)


@dataclass(frozen=True)
class _Planned:
    """A run of `ablate`: what is recorded, what replaces which gates on which images, and how that is measured."""

    settings: AblateSettings
    run: Plan
    folder: RunFolder
    replacement: ReplacementSpec
    groups: list[SiteGroup]
    selection: Selection
    pair: tuple[ImageClass, ImageClass] | None  # classes whose gates are swapped
    metric: Metric | None
    other: Recording | None  # gives the means instead of this run's own recording
    joined: Recording | None


def _plan(settings: AblateSettings) -> _Planned:
    spec = parse_replacement(settings.replacement)
    metric = None if settings.metric is None else read_metric(settings.metric)
    machine = machine_of(settings, settings.batch_size)
    settings, joined = join(settings)
    if joined is None:
        folder = folder_of(settings, f"ablate-{label_of(settings.network(DEFAULT.model))}-{settings.replacement}")
    else:
        folder = RunFolder(joined.path.parent)
        if folder.ablation.exists() and not settings.overwrite:
            raise SeProbeError(f"{folder.path} holds interventions already; replace them with --overwrite.")
        settings = with_classes(settings, joined)
    model, selection = load_inputs(settings, unlabelled=metric is not None)
    if joined is not None:
        require_same(joined, model, selection)
    require_measurable(model, selection, metric)
    run = plan_run(settings, model, selection, machine)
    spec = spec.of(model.network)
    groups = _fitting(plan_interventions(run.discovery.sites, settings.sites or SCOPES), spec)
    pair = None
    if spec.classes is not None:
        first, second = (item.image_class for item in selection.images.labels.resolve_all(spec.classes))
        pair = first, second
        entries = tuple(entry for entry in selection.entries if entry.sample.image_class in pair)
        selection = replace(selection, entries=entries)
    other = None if settings.gates_from is None else open_recording(settings.gates_from)
    if other is not None:
        require_same(other, model)
    tell("replace", f"{spec.text}: {len(groups)} interventions, {passes_of(groups)} passes per image")
    return _Planned(settings, run, folder, spec, groups, selection, pair, metric, other, joined)


@keep_freed_memory()
def _measure(plan: _Planned, recording: Recording) -> None:
    """Measure every intervention, and write the outcomes; means are those of `recording`."""
    replacements, label = _replacements(plan, recording)
    selection, run, replacement = plan.selection, plan.run, plan.replacement.text
    facts = {
        **run.provenance,
        "replacement": replacement,
        "gates_from": _origin(plan.replacement, plan.other),
        "metric": None if plan.metric is None else plan.metric.facts,
        "float32_precision": float32_precision(run.machine.device),
    }
    total = len(selection.entries) * passes_of(plan.groups)
    with (
        AblationWriter(plan.folder.ablation, plan.groups, replacement, selection, facts) as writer,
        progress_bar("intervening", total, shown=plan.settings.progress) as progress,
    ):
        for measured in measure(
            run.model,
            run.discovery.sites,
            plan.groups,
            replacements,
            selection,
            metric=plan.metric,
            label=label,
            batch_size=plan.settings.batch_size,
            workers=run.machine.workers,
            progress=progress,
        ):
            writer.add(measured)


def _replacements(plan: _Planned, recording: Recording) -> tuple[Mapping[str, Replacement], Labels | None]:
    """Return the replacement of each site's gate, and the label of each image if the replacement depends on it."""
    entries = plan.selection.entries
    match plan.replacement.kind:
        case "mean":
            return mean_gates(recording), None
        case "class-mean":
            return class_mean_gates(recording), lambda position: entries[position].sample.image_class.name
        case "shuffle" | "swap":
            return _of_other_images(plan), str
    if plan.replacement.replacement is None:
        raise TypeError(f"the replacement {plan.replacement.text!r} has no constant")
    return dict.fromkeys(_changed(plan.groups), plan.replacement.replacement), None


def _of_other_images(plan: _Planned) -> Mapping[str, Replacement]:
    """Return the gates of other images, shuffled or of the other class."""
    selection, names, settings = plan.selection, _changed(plan.groups), plan.settings
    sites = [site for site in plan.run.discovery.sites if site.name in names]
    feed = {"batch_size": settings.batch_size, "workers": plan.run.machine.workers}
    with progress_bar("gathering gates", len(selection.entries), shown=settings.progress) as progress:
        positions, gates = gather_gates(plan.run.model, sites, selection, **feed, progress=progress)
    if plan.pair is None:
        return donated(gates, positions, shuffled(positions, settings.seed))
    classes = {position: selection.entries[position].sample.image_class for position in positions}
    return donated(gates, positions, swapped(classes, plan.pair, settings.seed))


def _changed(groups: Sequence[SiteGroup]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group.site_names))


def _fitting(groups: Sequence[SiteGroup], replacement: ReplacementSpec) -> list[SiteGroup]:
    """Return the groups whose sites can all have this replacement; log the sites that cannot."""
    sites = {site.name: site for group in groups for site in group.sites}
    refusals = {name: reason for name, site in sites.items() if (reason := replacement.refusal(site))}
    fitting = [group for group in groups if refusals.keys().isdisjoint(group.site_names)]
    if not fitting:
        raise SeProbeError(
            f"{replacement.text} fits none of the sites {', '.join(sites)}: {next(iter(refusals.values()))}"
        )
    for reason in refusals.values():
        tell("left out", reason)
    return fitting


def _origin(replacement: ReplacementSpec, other: Recording | None) -> str | None:
    """Say which images the replacing gates come from, None for constants."""
    if replacement.kind in {"mean", "class-mean"}:
        return "this run's own recording, of the same images" if other is None else str(other.path.resolve())
    return "the same images" if replacement.kind in {"shuffle", "swap"} else None
