"""Record the same images through the checkpoints of a training run, or through a sweep, and compare over steps."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from se_probe.analysis.findings import Summary
from se_probe.analysis.steps import step_accuracy, step_events, step_sentences, step_sites
from se_probe.errors import SeProbeError
from se_probe.figures import model_line
from se_probe.figures.comparison import steps_figure
from se_probe.io.files import is_url
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.models import parse_model_args
from se_probe.recording import Recording
from se_probe.recording.run_folder import FIGURES, REPORT
from se_probe.report.figures import report_figure
from se_probe.report.pages import steps_html
from se_probe.runs.artifacts import Artifacts, Drawn, tell_summary
from se_probe.runs.conditions import Parts
from se_probe.runs.plan import (
    label_of,
    load_network,
    machine_of,
    open_data,
    plan_run,
    require_one_process,
    select_images,
)
from se_probe.runs.presets import preset_of
from se_probe.runs.record import folder_of, record_run
from se_probe.runs.settings import ExciteSettings

NOTE = (
    "Sites from the first, above, to the last, by step. The spread is the standard deviation of gates over images, "
    "root mean square over channels, in gate units; a channel moves where its own reaches 0.02."
)


@dataclass(frozen=True)
class Step:
    """One network of a comparison over steps.

    Attributes:
        label: its name.
        number: training step or epoch, the value of a sweep if that is a number, else the position.
        settings: options of its run.
    """

    label: str
    number: float
    settings: ExciteSettings


def record_steps(settings: ExciteSettings) -> Recording:
    """Record the same images at every step, write a comparison, and return the recording of the last step."""
    require_one_process("a comparison over steps")
    steps = steps_of(settings)
    if settings.null or is_url(settings.out or ""):
        raise SeProbeError("steps are compared without --null, and in a folder of this machine; leave out the other.")
    preset = preset_of(settings.preset)
    label = f"steps-{label_of(settings.network(preset.model))}"
    parts = Parts(folder_of(replace(settings, overwrite=settings.overwrite or settings.resume), label), "step")
    names = [_part_name(step.label) for step in steps]
    if not settings.resume:
        parts.require_free(label, names, overwrite=settings.overwrite)
    machine = machine_of(settings, settings.batch_size)
    selection = None
    recordings: dict[str, Recording] = {}
    for step, name in zip(steps, names, strict=True):
        model = load_network(step.settings, preset.model)
        if selection is None:
            selection = select_images(settings, open_data(settings, model), preset)
        plan = plan_run(step.settings, model, selection, machine, record_sites=settings.record_sites)
        if not recordings and not settings.resume:
            parts.clear()
        tell("step", step.label)
        recordings[step.label] = record_run(plan, parts.of(name), settings)
    with status("comparing", shown=settings.progress):
        _compare(settings, steps, recordings, parts.folder.path)
    return recordings[steps[-1].label]


def steps_of(settings: ExciteSettings) -> list[Step]:
    """Return the steps that settings name, two or more, in their order."""
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
    for position, value in enumerate(values):
        arguments = parse_model_args([f"{key}={value}"])
        parsed = next(iter(arguments.values()))
        number = parsed if isinstance(parsed, int | float) and not isinstance(parsed, bool) else position
        changed = replace(settings, sweep=None, model_args={**(settings.model_args or {}), **arguments})
        steps.append(Step(f"{key}={value}", float(number), changed))
    return steps


def _checkpoints(settings: ExciteSettings, patterns: str | Sequence[str]) -> list[Step]:
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    expanded = [str(Path(pattern).expanduser()) for pattern in given]
    paths = sorted({path for pattern in expanded for path in glob.glob(pattern, recursive=True)}, key=_natural)
    if len(paths) < 2:
        raise SeProbeError(
            f"--checkpoints {', '.join(given)} names {len(paths)} files; expected two or more, such as"
            " 'run/epoch-*.pt'."
        )
    stems = [Path(path).stem for path in paths]
    labels = stems if len(set(stems)) == len(stems) else [path.replace("/", "-").strip("-") for path in paths]
    return [
        Step(label, number, replace(settings, checkpoints=None, checkpoint=path))
        for label, number, path in zip(labels, _step_numbers(paths), paths, strict=True)
    ]


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort "epoch-9" before "epoch-10"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]


def _step_numbers(paths: Sequence[str]) -> list[float]:
    """Return the last number of each name if they all differ, else the positions."""
    numbers = [re.findall(r"\d+", path) for path in paths]
    last = [float(digits[-1]) for digits in numbers if digits]
    return last if len(set(last)) == len(paths) else [float(position) for position in range(len(paths))]


def _part_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", label)


def _compare(settings: ExciteSettings, steps: Sequence[Step], recordings: dict[str, Recording], folder: Path) -> None:
    """Write tables, figure, facts and page of a comparison, and log the results."""
    numbers = {step.label: step.number for step in steps}
    sites = step_sites(recordings, numbers, seed=settings.seed)
    events, accuracy = step_events(sites), step_accuracy(recordings, numbers)
    artifacts, first = Artifacts(folder), recordings[steps[0].label]
    images = int((first.images["role"] == "chosen").sum())
    caption = f"{model_line(first.provenance['model'])} and {len(steps) - 1} more · {images} images"
    figure = steps_figure(sites, events, demo=first.demo, caption=caption)
    artifacts.figures([Drawn(figure, sites, "steps")])
    artifacts.tables({"steps_sites.csv": sites, "steps_events.csv": events, "steps_accuracy.csv": accuracy})
    provenance = {label: item.provenance for label, item in recordings.items()}
    artifacts.facts({"command": settings.started_by, "steps": provenance, "demo": first.demo, "complete": True})
    sentences = step_sentences(sites, events, accuracy)
    tell_summary(Summary(tuple(sentences), (), None))
    content = steps_html(
        recordings[steps[-1].label],
        sites=sites,
        events=events,
        accuracy=accuracy,
        sentences=sentences,
        figures=[report_figure(folder / FIGURES, "steps", "Gates over steps", NOTE)],
        links=artifacts.links,
    )
    artifacts.page(REPORT, content)
