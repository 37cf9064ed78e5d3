"""Run the experiment of changed images: the same images plain and changed through one network, to a page."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from se_probe.analysis.change import PLAIN, change_sentences
from se_probe.analysis.scale import example_images
from se_probe.images import Selection
from se_probe.images.changes import Change, changed_transform, parse_changes, pictured
from se_probe.io.files import write_csv
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.runs.artifacts import Artifacts
from se_probe.runs.change_result import ENERGIES, ChangeRun, change_tables, changes_drawn, write_page
from se_probe.runs.conditions import (
    THUMBNAILS,
    Condition,
    Parts,
    record_conditions,
    thumbnail,
    transformed,
    write_thumbnails,
)
from se_probe.runs.machine import machine_of, require_one_process
from se_probe.runs.plan import Plan, label_of, load_network, open_data, plan_run, select_images
from se_probe.runs.presets import preset_of
from se_probe.runs.record import folder_of, tell_warnings
from se_probe.runs.settings import ChangeSettings
from se_probe.runs.verb import verb

EXAMPLES = 2


@verb(ChangeSettings)
def change(settings: ChangeSettings) -> ChangeRun:
    """Record a network's gates over the same images plain and changed, and test which changes move them.

    Returns:
        The run. Its folder holds a recording for each change in `change-<name>-<strength>/` and of the plain images in
        `change-plain/`, `figures/`, `tables/`, `run.json` and the page `report.html`.

    Raises:
        SeProbeError: an input cannot be used. Recordings that were begun are marked as incomplete.
    """
    require_one_process("the experiment of changed images")
    plan = _plan(settings)
    run = _record_all(plan)
    with status("testing and drawing", shown=settings.progress):
        return _finish(run, plan)


@dataclass(frozen=True)
class _Planned:
    """A run of `change`: what is recorded under which conditions, and where."""

    settings: ChangeSettings
    run: Plan
    conditions: dict[str, Condition]
    parts: Parts


def _plan(settings: ChangeSettings) -> _Planned:
    given = settings.change
    changes = parse_changes((given,) if isinstance(given, str) else given)
    machine = machine_of(settings, settings.batch_size)
    preset = preset_of(None)
    label = f"change-{label_of(settings.network(preset.model))}"
    parts = Parts(folder_of(settings, label), "change")
    model = load_network(settings, preset.model)
    selection = select_images(settings, open_data(settings, model), preset)
    run = plan_run(settings, model, selection, machine, "change")
    conditions = _conditions(run, changes, settings.seed)
    parts.require_free(label, (item.name for item in conditions.values()), overwrite=settings.overwrite)
    tell("changes", ", ".join(name for name in conditions if name != PLAIN))
    _try_own(run, conditions, changes)
    return _Planned(settings, run, conditions, parts)


def _conditions(run: Plan, changes: list[Change], seed: int) -> dict[str, Condition]:
    """Return the plain images, all of them, and under each change those whose gates are kept."""
    chosen = tuple(entry for entry in run.selection.entries if entry.role == "chosen")
    facts = {"name": PLAIN, "strength": 0.0, "unit": "", "seed": seed}
    conditions = {PLAIN: Condition(PLAIN, run.selection, run.model.transform, facts)}
    for item in changes:
        transform = changed_transform(item, run.model.transform, run.model.preprocessing, seed=seed)
        facts = {"name": item.name, "strength": item.strength, "unit": item.unit, "seed": seed}
        name = f"{item.name}-{item.strength:g}"
        conditions[item.label] = Condition(name, _only(run.selection, chosen), transform, facts)
    return conditions


def _only(selection: Selection, entries: tuple[object, ...]) -> Selection:
    return replace(selection, entries=entries)  # type: ignore[arg-type]  # a part of its own


def _try_own(run: Plan, conditions: dict[str, Condition], changes: list[Change]) -> None:
    """Call the user's functions once before anything is recorded."""
    for item in changes:
        if item.own is not None:
            condition = conditions[item.label]
            transformed(condition.selection, condition.transform, [condition.selection.entries[0].sample.path])


def _record_all(plan: _Planned) -> ChangeRun:
    run, parts, folder = plan.run, plan.parts, plan.parts.folder.path
    parts.clear()
    recordings, energies = record_conditions(
        run, parts, plan.conditions, exact=plan.settings.exact, capture=("squeeze",)
    )
    for key, condition in plan.conditions.items():
        table = energies[key].rename("energy").rename_axis("path").reset_index()
        write_csv(table, parts.of(condition.name).path / ENERGIES)
    paths = example_images(recordings[PLAIN], EXAMPLES)
    thumbnails: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for key, condition in plan.conditions.items():
        pictures = transformed(condition.selection, pictured(condition.transform, thumbnail), paths)
        thumbnails |= {(path, key): pictures[path].numpy() for path in paths if path in pictures}
    write_thumbnails(folder / THUMBNAILS, thumbnails)
    return ChangeRun(folder, recordings, energies, thumbnails)


def _finish(run: ChangeRun, plan: _Planned) -> ChangeRun:
    """Tell what was found, and write tables, figures, facts and page."""
    for recording in run.recordings.values():
        tell("wrote", str(recording.path), logging.DEBUG)
    warnings = tell_warnings(run.base)
    artifacts = Artifacts(run.path)
    tables = artifacts.tables(change_tables(run))
    artifacts.figures(changes_drawn(run))
    conditions = [recording.provenance["change"] for recording in run.recordings.values()]
    more = {"warnings": warnings, "options": plan.run.options, "changes": conditions, "complete": True}
    facts = artifacts.facts({**plan.run.provenance, **more})
    for line in change_sentences(run.sites, run.accuracy, run.detection):
        tell("finding", line)
    write_page(run, [*tables, facts], artifacts)
    return run
