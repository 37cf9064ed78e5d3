"""A run of changed images as read back: its tables, figures and page, without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
)
from se_probe.errors import SeProbeError
from se_probe.figures import model_line
from se_probe.figures.changes import change_detection_figure, change_images, change_response
from se_probe.io.files import reading
from se_probe.io.log import tell
from se_probe.recording import Recording, open_recording
from se_probe.recording.guard import is_incomplete
from se_probe.recording.run_folder import FIGURES
from se_probe.report.figures import report_figure
from se_probe.report.pages import change_html
from se_probe.runs.artifacts import Artifacts, Drawn
from se_probe.runs.conditions import THUMBNAILS, read_thumbnails

PAGE = "report.html"
ENERGIES = "tables/energies.csv.gz"
_PARTS = "change-*/recording.zarr"


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
        """How far gates move, and whether: a row a change and site (`change_sites`)."""
        return change_sites(self.recordings, seed=self.base.provenance["data"]["seed"])

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """What the network says of the images: a row a change (`change_accuracy`)."""
        return change_accuracy(self.recordings, seed=self.base.provenance["data"]["seed"])

    @cached_property
    def detection(self) -> pd.DataFrame:
        """Whether changed images are told from plain ones: a row a change, score and site (`change_detection`)."""
        return change_detection(self.recordings, self.energies)

    def __repr__(self) -> str:
        about = f"<se_probe.ChangeRun {self.path}: {', '.join(key for key in self.recordings if key != PLAIN)}>"
        return "\n  ".join([about, *change_sentences(self.sites, self.accuracy, self.detection)])


def is_change_run(path: str | Path) -> bool:
    """Return whether a folder holds an experiment of changed images, whole or not."""
    return any(Path(path).glob(_PARTS))


def open_change_run(path: str | Path) -> ChangeRun:
    """Open an experiment of changed images for reading.

    Raises:
        SeProbeError: there is none at `path`, or it was stopped before its end.
    """
    folder = Path(path)
    stores = [store for store in folder.glob(_PARTS) if not is_incomplete(store)]
    found = {_key(recording): recording for recording in (open_recording(store.parent) for store in stores)}
    missing = [item.path.parent for item in found.values() if not (item.path.parent / ENERGIES).is_file()]
    if PLAIN not in found or len(found) < 2 or missing or not (folder / THUMBNAILS).is_file():
        raise SeProbeError(
            f"{path} holds no complete experiment of changed images ({len(found)} complete recordings); expected the "
            "folder of a run of se-probe change that came to its end, run it again with --overwrite."
        )
    order = sorted(
        found, key=lambda key: (key != PLAIN, _name(found[key]), found[key].provenance["change"]["strength"])
    )
    recordings = {key: found[key] for key in order}
    energies = {key: _read_energies(item.path.parent / ENERGIES) for key, item in recordings.items()}
    return ChangeRun(folder, recordings, energies, read_thumbnails(folder / THUMBNAILS))


def _name(recording: Recording) -> str:
    return str(recording.provenance["change"]["name"])


def _key(recording: Recording) -> str:
    facts = recording.provenance["change"]
    return PLAIN if facts["name"] == PLAIN else f"{facts['name']} {facts['strength']:g}"


def _read_energies(path: Path) -> pd.Series:
    with reading(path):
        energies: pd.Series = pd.read_csv(path, dtype={"path": str, "energy": float}).set_index("path")["energy"]
    return energies


def draw_changes(run: ChangeRun, folder: str | Path) -> list[Path]:
    """Draw the figures of an experiment of changed images into `folder/figures`; return the files.

    Raises:
        SeProbeError: the folder cannot be written.
    """
    return Artifacts(Path(folder)).figures(changes_drawn(run))


def change_tables(run: ChangeRun) -> dict[str, pd.DataFrame]:
    """Return the tables of an experiment of changed images, by the names of their files."""
    return {
        "change_sites.csv": run.sites,
        "change_channels.csv.gz": change_channels(run.recordings),
        "change_accuracy.csv": run.accuracy,
        "change_detection.csv": run.detection,
    }


def changes_drawn(run: ChangeRun) -> list[Drawn]:
    """Draw the figures of an experiment of changed images."""
    base = run.base
    chosen = base.images[base.images["role"] == "chosen"]
    caption = f"{model_line(base.provenance['model'])} · {len(chosen)} images of {chosen['class'].nunique()} classes"
    about: dict[str, Any] = {"demo": base.demo, "caption": caption}
    whole = run.detection[run.detection["site"] == ALL_SITES]
    told = whole.merge(run.accuracy[["condition", "top1_change", "top1_ci_low", "top1_ci_high"]], on="condition")
    listed = pd.DataFrame(
        [(path, key, base.images.set_index("path")["class"].get(path, "")) for path, key in run.thumbnails],
        columns=["path", "condition", "class"],
    )
    return [
        Drawn(change_response(run.sites, **about), run.sites, "change_response"),
        Drawn(change_detection_figure(told, **about), told, "change_detection"),
        Drawn(change_images(listed, run.thumbnails, **about), listed, "change_images"),
    ]


NOTES = {
    "change_response": (
        "Gates under change",
        "How far gates move, by change and strength from top to bottom and by depth from left to right: mean "
        "absolute difference to the same image's gate, in standard deviations of the plain images' gates. A dot: no "
        "shift found.",
    ),
    "change_detection": (
        "Changed images told from plain ones",
        "Area under the curve of each score: 0.5 tells nothing; below it, changed images look more like plain ones "
        "than those do. Bars: 95 % interval over images.",
    ),
    "change_images": ("Images under change", "The pictures that the network sees, at each strength."),
}


def write_page(run: ChangeRun, files: Sequence[Path], artifacts: Artifacts) -> Path:
    """Write the page of an experiment of changed images; return its path."""
    shown = [report_figure(run.path / FIGURES, stem, title, note) for stem, (title, note) in NOTES.items()]
    links = [quote(path.relative_to(run.path).as_posix()) for path in files]
    sentences = change_sentences(run.sites, run.accuracy, run.detection)
    content = change_html(
        run.base,
        sites=run.sites,
        accuracy=run.accuracy,
        detection=run.detection,
        sentences=sentences,
        figures=shown,
        links=links,
    )
    page = artifacts.file(PAGE, content.encode())
    tell("report", page.resolve().as_uri())
    return page
