"""Record the same images under several conditions, such as scales or changes, each into a part of the run's folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from se_probe.images import Selection, batches
from se_probe.images.loader import Transform
from se_probe.io.files import write_file
from se_probe.io.log import tell, tell_line
from se_probe.io.progress import progress_bar
from se_probe.recording import Execution, Recording, open_recording, record
from se_probe.recording.guard import is_incomplete
from se_probe.recording.run_folder import RECORDING, RunFolder, choose_folder
from se_probe.runs.plan import Plan

THUMBNAILS = "thumbnails.npz"
THUMBNAIL_SIDE = 96

Key = TypeVar("Key", float, str)
Thumbnails = dict[tuple[str, Any], NDArray[np.uint8]]


@dataclass(frozen=True)
class Condition:
    """The images of a run under one condition.

    Attributes:
        name: suffix of its folder.
        selection: the images.
        transform: makes the network's input of an image.
        thumbnail: makes a picture of an image, for figures.
        facts: kept in the recording's provenance.
    """

    name: str
    selection: Selection
    transform: Transform
    thumbnail: Transform
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Parts:
    """The parts of a run's folder, `<prefix>-<name>`, with a recording each."""

    folder: RunFolder
    prefix: str

    def of(self, name: str) -> RunFolder:
        """Return the folder of a part."""
        return RunFolder(self.folder.path / f"{self.prefix}-{name}")

    def require_free(self, label: str, names: Iterable[str], *, overwrite: bool) -> None:
        """Raise SeProbeError if a part holds an earlier recording that must not be replaced."""
        for name in names:
            choose_folder(label, self.of(name).path, overwrite=overwrite)

    def clear(self) -> None:
        """Remove the parts of an earlier run."""
        self.folder.clear()
        for part in self.folder.path.glob(f"{self.prefix}-*"):
            RunFolder(part).clear()
            if not any(part.iterdir()):
                part.rmdir()

    def stores(self) -> list[Path]:
        """Return the recordings, complete or not."""
        return list(self.folder.path.glob(f"{self.prefix}-*/{RECORDING}"))

    def complete(self) -> list[Recording]:
        """Open the complete recordings."""
        return [open_recording(store.parent) for store in self.stores() if not is_incomplete(store)]


def record_conditions(
    plan: Plan, parts: Parts, conditions: Mapping[Key, Condition], *, exact: bool, capture: Sequence[str] = ()
) -> tuple[dict[Key, Recording], dict[Key, pd.Series]]:
    """Record the images of a run under every condition, into parts that are cleared first.

    Returns:
        The recordings, and the energies of the network's output by the images' paths, by condition.
    """
    parts.clear()
    recordings, energies = {}, {}
    total = sum(len(condition.selection.entries) for condition in conditions.values())
    with progress_bar("recording", total, shown=plan.settings.progress) as progress:
        for key, condition in conditions.items():
            energy: dict[int, float] = {}
            recordings[key] = record(
                replace(plan.model, transform=condition.transform),
                plan.discovery.sites,
                condition.selection,
                parts.of(condition.name).recording,
                provenance={**plan.provenance, parts.prefix: dict(condition.facts)},
                capture=capture,
                batch_size=plan.machine.batch_size,
                workers=plan.machine.workers,
                device=plan.machine.device,
                execution=Execution(exact),
                say=tell_line,
                progress=progress,
                energies=partial(_keep, energy),
            )
            tell("wrote", str(recordings[key].path), logging.DEBUG)
            entries = condition.selection.entries
            energies[key] = pd.Series({entries[index].sample.path: value for index, value in energy.items()})
    return recordings, energies


def _keep(energies: dict[int, float], indices: Sequence[int], values: NDArray[np.float64]) -> None:
    energies.update(zip(indices, values.tolist(), strict=True))


def transformed(selection: Selection, transform: Transform, paths: Sequence[str]) -> dict[str, torch.Tensor]:
    """Apply a transform to some of the selected images; return the results by path."""
    entries = tuple(entry for entry in selection.entries if entry.sample.path in paths)
    (batch,) = batches(replace(selection, entries=entries), transform, batch_size=len(entries), workers=0)
    return {entries[index].sample.path: item for index, item in zip(batch.indices, batch.images, strict=True)}


def thumbnail(image: Image.Image) -> torch.Tensor:
    """Return the central square of an image, `(side, side, 3)`, uint8."""
    square = ImageOps.fit(image, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(square))


def write_thumbnails(folder: Path, conditions: Mapping[Key, Condition], paths: Sequence[str]) -> Thumbnails:
    """Write pictures of some images under each condition to one file; return them by path and condition."""
    thumbnails: Thumbnails = {}
    for key, condition in conditions.items():
        pictures = transformed(condition.selection, condition.thumbnail, paths)
        thumbnails |= {(path, key): pictures[path].numpy() for path in paths if path in pictures}
    stream = BytesIO()
    shown, keys = zip(*thumbnails, strict=True)
    np.savez_compressed(
        stream, paths=np.array(shown), scales=np.array(keys), pixels=np.stack(list(thumbnails.values()))
    )
    write_file(folder / THUMBNAILS, stream.getvalue())
    return thumbnails


def read_thumbnails(folder: Path) -> Thumbnails:
    """Read the pictures that `write_thumbnails` wrote."""
    with np.load(folder / THUMBNAILS, allow_pickle=False) as stored:
        keys = zip(stored["paths"].tolist(), stored["scales"].tolist(), strict=True)
        return dict(zip(keys, stored["pixels"], strict=True))
