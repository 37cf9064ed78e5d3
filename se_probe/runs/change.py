"""Record the same images plain and changed through one network, and test which changes move its gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.change import (
    ALL_SITES,
    PLAIN,
    change_accuracy,
    change_channels,
    change_detection,
    change_sentences,
    change_sites,
    change_summary,
)
from se_probe.analysis.scale import example_images
from se_probe.errors import SeProbeError
from se_probe.figures import model_line
from se_probe.figures.changes import change_detection_figure, change_images, change_response
from se_probe.images.changes import Change, changed_transform, parse_changes, pictured
from se_probe.io.files import reading, write_csv
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.recording import Recording
from se_probe.recording.run_folder import FIGURES, REPORT, RunFolder
from se_probe.report.figures import report_figure
from se_probe.report.pages import change_html
from se_probe.runs.artifacts import Artifacts, Drawn, tell_summary
from se_probe.runs.conditions import (
    THUMBNAILS,
    Condition,
    Parts,
    read_thumbnails,
    record_conditions,
    thumbnail,
    transformed,
    write_thumbnails,
)
from se_probe.runs.options import verb
from se_probe.runs.plan import Plan, label_of, load_inputs, machine_of, plan_run, require_one_process
from se_probe.runs.presets import DEFAULT
from se_probe.runs.record import folder_of, tell_warnings
from se_probe.runs.settings import ChangeSettings

EXAMPLES = 2
PREFIX = "change"
ENERGIES = "tables/energies.csv.gz"
NOTES = {
    "change_response": (
        "Gates under change",
        "How far gates move, by change and strength from top to bottom and by depth from left to right: mean "
        "absolute difference to the same image's gate, in standard deviations of the plain images' gates. A dot: no "
        "shift found.",
    ),
    "change_detection": (
        "Changed images told from plain ones",
        "Area under the curve of each score: 0.5 is chance; below it, changed images look more like plain ones than "
        "plain ones do. Bars: 95 % interval over images.",
    ),
    "change_images": ("Images under change", "The pictures that the network sees, at each strength."),
}


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
    plan, conditions, parts = _plan(settings)
    recordings, energies = record_conditions(plan, parts, conditions, exact=settings.exact, capture=("squeeze",))
    for key, condition in conditions.items():
        table = energies[key].rename("energy").rename_axis("path").reset_index()
        write_csv(table, parts.of(condition.name).path / ENERGIES)
    folder = parts.folder.path
    thumbnails = write_thumbnails(folder, conditions, example_images(recordings[PLAIN], EXAMPLES))
    run = ChangeRun(folder, recordings, energies, thumbnails)
    with status("testing and drawing", shown=settings.progress):
        _write(run, plan)
    return run


def _plan(settings: ChangeSettings) -> tuple[Plan, dict[str, Condition], Parts]:
    given = settings.change
    changes = parse_changes((given,) if isinstance(given, str) else given)
    machine = machine_of(settings, settings.batch_size)
    label = f"change-{label_of(settings.network(DEFAULT.model))}"
    parts = Parts(folder_of(settings, label), PREFIX)
    model, selection = load_inputs(settings)
    plan = plan_run(settings, model, selection, machine)
    conditions = _conditions(plan, changes)
    parts.require_free(label, (item.name for item in conditions.values()), overwrite=settings.overwrite)
    tell("changes", ", ".join(name for name in conditions if name != PLAIN))
    for item in changes:
        if item.own is not None:  # try the user's functions before anything is recorded
            condition = conditions[item.label]
            transformed(condition.selection, condition.transform, [condition.selection.entries[0].sample.path])
    return plan, conditions, parts


def _conditions(plan: Plan, changes: list[Change]) -> dict[str, Condition]:
    """Return all images plain, and those of chosen classes under each change."""
    model, seed = plan.model, plan.settings.seed
    facts = {"name": PLAIN, "strength": 0.0, "unit": "", "seed": seed}
    picture = pictured(model.transform, thumbnail)
    conditions = {PLAIN: Condition(PLAIN, plan.selection, model.transform, picture, facts)}
    chosen = replace(plan.selection, entries=tuple(item for item in plan.selection.entries if item.role == "chosen"))
    for item in changes:
        transform = changed_transform(item, model.transform, model.preprocessing, seed=seed)
        facts = {"name": item.name, "strength": item.strength, "unit": item.unit, "seed": seed}
        name, picture = f"{item.name}-{item.strength:g}", pictured(transform, thumbnail)
        conditions[item.label] = Condition(name, chosen, transform, picture, facts)
    return conditions


def _write(run: ChangeRun, plan: Plan) -> None:
    """Write tables, figures, facts and page, and log the results."""
    warnings = tell_warnings(run.base)
    artifacts = Artifacts(run.path)
    artifacts.tables(run.tables())
    artifacts.figures(run.drawn())
    conditions = [recording.provenance["change"] for recording in run.recordings.values()]
    more = {"warnings": warnings, "options": plan.options, "changes": conditions, "complete": True}
    artifacts.facts({**plan.provenance, **more})
    tell_summary(change_summary(run.sites, run.accuracy, run.detection))
    content = change_html(
        run.base,
        sites=run.sites,
        accuracy=run.accuracy,
        detection=run.detection,
        sentences=change_sentences(run.sites, run.accuracy, run.detection),
        figures=[report_figure(run.path / FIGURES, stem, title, note) for stem, (title, note) in NOTES.items()],
        links=artifacts.links,
    )
    artifacts.page(REPORT, content)


@dataclass(frozen=True)
class ChangeRun:
    """An experiment of changed images: its recordings, the plain images first, and pictures of some of them.

    Attributes:
        path: the run's folder.
        recordings: "plain", or change and strength → recording of the same images.
        energies: likewise → energy of the network's output, by path.
        thumbnails: (path, condition) → picture `(side, side, 3)`, uint8.
    """

    path: Path
    recordings: Mapping[str, Recording]
    energies: Mapping[str, pd.Series]
    thumbnails: Mapping[tuple[str, str], NDArray[np.uint8]]

    @property
    def base(self) -> Recording:
        """The recording of the plain images."""
        return self.recordings[PLAIN]

    @cached_property
    def sites(self) -> pd.DataFrame:
        """How far gates move, and whether: one row per change and site (`change_sites`)."""
        return change_sites(self.recordings, seed=self.base.provenance["data"]["seed"])

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """The network's accuracy: one row per change (`change_accuracy`)."""
        return change_accuracy(self.recordings, seed=self.base.provenance["data"]["seed"])

    @cached_property
    def detection(self) -> pd.DataFrame:
        """Whether changed images are told from plain ones: one row per change, score and site (`change_detection`)."""
        return change_detection(self.recordings, self.energies)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by the names of their files."""
        return {
            "change_sites.csv": self.sites,
            "change_channels.csv.gz": change_channels(self.recordings),
            "change_accuracy.csv": self.accuracy,
            "change_detection.csv": self.detection,
        }

    def drawn(self) -> list[Drawn]:
        """Draw the figures."""
        base = self.base
        chosen = base.images[base.images["role"] == "chosen"]
        images = f"{len(chosen)} images of {chosen['class'].nunique()} classes"
        about: dict[str, Any] = {"demo": base.demo, "caption": f"{model_line(base.provenance['model'])} · {images}"}
        whole = self.detection[self.detection["site"] == ALL_SITES]
        scores = whole.merge(self.accuracy[["condition", "top1_change", "top1_ci_low", "top1_ci_high"]], on="condition")
        classes = base.images.set_index("path")["class"]
        rows = [(path, key, classes.get(path, "")) for path, key in self.thumbnails]
        listed = pd.DataFrame(rows, columns=["path", "condition", "class"])
        return [
            Drawn(change_response(self.sites, **about), self.sites, "change_response"),
            Drawn(change_detection_figure(scores, **about), scores, "change_detection"),
            Drawn(change_images(listed, self.thumbnails, **about), listed, "change_images"),
        ]

    def __repr__(self) -> str:
        about = f"<se_probe.ChangeRun {self.path}: {', '.join(key for key in self.recordings if key != PLAIN)}>"
        return "\n  ".join([about, *change_sentences(self.sites, self.accuracy, self.detection)])


def open_change_run(path: str | Path) -> ChangeRun:
    """Open an experiment of changed images for reading.

    Raises:
        SeProbeError: there is none at `path`, or it was stopped before its end.
    """
    folder = Path(path)
    complete = {_order(item): item for item in Parts(RunFolder(folder), PREFIX).complete()}
    recordings = {_key(*order[1:]): complete[order] for order in sorted(complete)}
    files = {key: item.path.parent / ENERGIES for key, item in recordings.items()}
    whole = all(file.is_file() for file in (*files.values(), folder / THUMBNAILS))
    if PLAIN not in recordings or len(recordings) < 2 or not whole:
        raise SeProbeError(
            f"{path} holds no complete experiment of changed images ({len(recordings)} complete recordings); expected "
            "the folder of a run of se-probe change that finished; run it again with --overwrite."
        )
    energies = {key: _read_energies(file) for key, file in files.items()}
    return ChangeRun(folder, recordings, energies, read_thumbnails(folder))


def _order(recording: Recording) -> tuple[bool, str, float]:
    facts = recording.provenance["change"]
    return facts["name"] != PLAIN, str(facts["name"]), float(facts["strength"])


def _key(name: str, strength: float) -> str:
    return PLAIN if name == PLAIN else f"{name} {strength:g}"


def _read_energies(path: Path) -> pd.Series:
    with reading(path):
        energies: pd.Series = pd.read_csv(path, dtype={"path": str, "energy": float}).set_index("path")["energy"]
    return energies
