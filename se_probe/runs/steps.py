"""Record the same images through the checkpoints of a training run, or through a sweep, and compare over steps."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from se_probe.analysis.steps import step_accuracy, step_events, step_sentences, step_sites
from se_probe.errors import SeProbeError
from se_probe.figures import model_line
from se_probe.figures.comparison import steps_figure
from se_probe.io.files import is_url
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.models import parse_model_args
from se_probe.recording import Recording
from se_probe.recording.run_folder import FIGURES
from se_probe.report.figures import report_figure
from se_probe.report.pages import steps_html
from se_probe.runs.artifacts import Artifacts, Drawn
from se_probe.runs.conditions import Parts
from se_probe.runs.machine import machine_of, require_one_process
from se_probe.runs.plan import label_of, load_network, open_data, plan_run, select_images
from se_probe.runs.presets import preset_of
from se_probe.runs.record import folder_of, record_run
from se_probe.runs.settings import ExciteSettings

PAGE = "report.html"
NOTE = (
    "Sites from the first, above, to the last, by step. The spread is the standard deviation of gates over images, "
    "root mean square over channels, in gate units; a channel moves where its own reaches 0.02."
)


@dataclass(frozen=True)
class Step:
    """One network of a comparison over steps.

    Attributes:
        label: what it is called.
        step: number of the training step or epoch, the value of a sweep where that is a number, else its place.
        settings: what is recorded.
    """

    label: str
    step: float
    settings: ExciteSettings


@dataclass(frozen=True)
class StepsRun:
    """A comparison over steps.

    Attributes:
        path: the run's folder.
        recordings: label → recording, in the order of steps.
        sites: a row a step and site (`step_sites`).
        events: a row a site (`step_events`).
    """

    path: Path
    recordings: dict[str, Recording]
    sites: pd.DataFrame
    events: pd.DataFrame

    @property
    def last(self) -> Recording:
        """The recording of the last step."""
        return list(self.recordings.values())[-1]


def record_steps(settings: ExciteSettings) -> StepsRun:
    """Record the same images at every step, compare, and write tables, figure and page.

    Raises:
        SeProbeError: an input cannot be used; recordings that were begun are marked as incomplete.
    """
    require_one_process("a comparison over steps")
    steps = steps_of(settings)
    if settings.null or is_url(settings.out or ""):
        raise SeProbeError("steps are compared without --null, and in a folder of this machine; leave out the other.")
    preset = preset_of(settings.preset)
    label = f"steps-{label_of(settings.network(preset.model))}"
    parts = Parts(folder_of(replace(settings, overwrite=settings.overwrite or settings.resume), label), "step")
    names = [part_name(step.label) for step in steps]
    if not settings.resume:
        parts.require_free(label, names, overwrite=settings.overwrite)
    machine = machine_of(settings, settings.batch_size)
    selection = None
    recordings: dict[str, Recording] = {}
    for step, name in zip(steps, names, strict=True):
        model = load_network(step.settings, preset.model)
        if selection is None:
            selection = select_images(settings, open_data(settings, model), preset)
        plan = plan_run(step.settings, model, selection, machine, "excite", record_sites=settings.record_sites)
        if not recordings and not settings.resume:
            parts.clear()
        tell("step", step.label)
        how: dict[str, Any] = {"effect_of": settings.effect_of, "resume": settings.resume}
        recordings[step.label] = record_run(plan, parts.of(name), settings.execution, settings.capture, **how)
    with status("comparing", shown=settings.progress):
        return _compare(settings, steps, recordings, parts.folder.path)


def steps_of(settings: ExciteSettings) -> list[Step]:
    """Return the steps that settings name, in their order.

    Raises:
        SeProbeError: there are fewer than two, or they contradict other settings.
    """
    if settings.checkpoints is not None and (settings.sweep is not None or settings.checkpoint is not None):
        raise SeProbeError("--checkpoints and --sweep or --checkpoint were given; choose one of them.")
    if settings.checkpoints is not None:
        return _checkpoints(settings, settings.checkpoints)
    key, _, listed = (settings.sweep or "").partition("=")
    values = [value.strip() for value in listed.split(",") if value.strip()]
    if len(set(values)) < 2 or len(set(values)) < len(values):
        raise SeProbeError(
            f"--sweep {settings.sweep} was given; expected KEY=VALUE,VALUE with two or more different values, such as "
            "rd_ratio=0.25,0.0625."
        )
    steps = []
    for place, value in enumerate(values):
        arguments = parse_model_args([f"{key}={value}"])
        number = next(iter(arguments.values()))
        step = float(number) if isinstance(number, int | float) and not isinstance(number, bool) else float(place)
        wanted = replace(settings, sweep=None, model_args={**(settings.model_args or {}), **arguments})
        steps.append(Step(f"{key}={value}", step, wanted))
    return steps


def _checkpoints(settings: ExciteSettings, patterns: str | Sequence[str]) -> list[Step]:
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    expanded = [str(Path(pattern).expanduser()) for pattern in given]
    found = sorted({path for pattern in expanded for path in glob.glob(pattern, recursive=True)}, key=_natural)
    if len(found) < 2:
        raise SeProbeError(
            f"--checkpoints {', '.join(given)} names {len(found)} files; expected two or more, such as"
            " 'run/epoch-*.pt'."
        )
    stems = [Path(path).stem for path in found]
    labels = stems if len(set(stems)) == len(stems) else [path.replace("/", "-").strip("-") for path in found]
    numbers = _step_numbers(found)
    return [
        Step(label, number, replace(settings, checkpoints=None, checkpoint=path))
        for label, number, path in zip(labels, numbers, found, strict=True)
    ]


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort "epoch-9" before "epoch-10"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]


def _step_numbers(paths: Sequence[str]) -> list[float]:
    """Return the last number of each name where they all have a different one, else the places."""
    numbers = [re.findall(r"\d+", path) for path in paths]
    last = [float(found[-1]) for found in numbers if found]
    return last if len(set(last)) == len(paths) else [float(place) for place in range(len(paths))]


def part_name(label: str) -> str:
    """Return a label as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", label)


def _compare(
    settings: ExciteSettings, steps: Sequence[Step], recordings: dict[str, Recording], folder: Path
) -> StepsRun:
    numbers = {step.label: step.step for step in steps}
    sites = step_sites(recordings, numbers, seed=settings.seed)
    events, accuracy = step_events(sites), step_accuracy(recordings, numbers)
    run = StepsRun(folder, recordings, sites, events)
    artifacts, first = Artifacts(folder), next(iter(recordings.values()))
    images = int((first.images["role"] == "chosen").sum())
    caption = f"{model_line(first.provenance['model'])} and {len(steps) - 1} more · {images} images"
    figure = steps_figure(sites, events, demo=first.demo, caption=caption)
    artifacts.figures([Drawn(figure, sites, "steps")])
    tables = {"steps_sites.csv": sites, "steps_events.csv": events, "steps_accuracy.csv": accuracy}
    written = artifacts.tables(tables)
    provenance = {label: item.provenance for label, item in recordings.items()}
    command = settings.command or settings.call("excite")
    facts = artifacts.facts({"command": command, "steps": provenance, "demo": first.demo, "complete": True})
    sentences = step_sentences(sites, events, accuracy)
    for line in sentences:
        tell("finding", line)
    content = steps_html(
        run.last,
        sites=sites,
        events=events,
        accuracy=accuracy,
        sentences=sentences,
        figures=[report_figure(folder / FIGURES, "steps", "Gates over steps", NOTE)],
        links=[quote(path.relative_to(folder).as_posix()) for path in (*written, facts)],
    )
    page = artifacts.file(PAGE, content.encode())
    tell("report", page.resolve().as_uri())
    return run
