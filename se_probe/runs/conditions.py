"""Record the same images under several conditions, such as scales or changes, each into a folder of the run's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from se_probe.io.log import tell_line
from se_probe.io.progress import progress_bar
from se_probe.recording import Execution, Recording, record
from se_probe.recording.run_folder import RunFolder, choose_folder
from se_probe.runs.plan import Plan

THUMBNAILS = "thumbnails.npz"
THUMBNAIL_SIDE = 96

Key = TypeVar("Key", float, str)


@dataclass(frozen=True)
class Condition:
    """The images of a run under one condition.

    Attributes:
        name: of the condition, in the name of its folder.
        selection: the images, which are opened as the condition has them.
        transform: makes the network's input of an image as the condition has it.
        facts: about the condition, kept in the recording's provenance.
    """

    name: str
    selection: Selection
    transform: Transform
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Parts:
    """The folders of the conditions in a run's folder, `<prefix>-<name>`."""

    folder: RunFolder
    prefix: str

    def of(self, name: str) -> RunFolder:
        """Return the folder of a condition."""
        return RunFolder(self.folder.path / f"{self.prefix}-{name}")

    def require_free(self, label: str, names: Iterable[str], *, overwrite: bool) -> None:
        """Raise SeProbeError where a condition's folder holds an earlier recording that is not to be replaced."""
        for name in names:
            choose_folder(label, self.of(name).path, overwrite=overwrite)

    def clear(self) -> None:
        """Remove the parts of an earlier run."""
        self.folder.clear()
        for part in self.folder.path.glob(f"{self.prefix}-*"):
            RunFolder(part).clear()
            if not any(part.iterdir()):
                part.rmdir()


def record_conditions(
    run: Plan, parts: Parts, conditions: Mapping[Key, Condition], *, exact: bool, capture: Sequence[str] = ()
) -> tuple[dict[Key, Recording], dict[Key, pd.Series]]:
    """Record every condition of a planned run, with the same network and settings.

    Args:
        run: the plan.
        parts: where the recordings go.
        conditions: what is recorded, by the key of the result.
        exact: whether the network is run as it is.
        capture: what is recorded beside the gates.

    Returns:
        The recordings, and the energies of the network's output by the images' paths, by condition.
    """
    recordings, energies = {}, {}
    total = sum(len(condition.selection.entries) for condition in conditions.values())
    with progress_bar("recording", total, shown=run.settings.progress) as progress:
        for key, condition in conditions.items():
            entries, found = condition.selection.entries, _Energies()
            recordings[key] = record(
                replace(run.model, transform=condition.transform),
                run.discovery.sites,
                condition.selection,
                parts.of(condition.name).recording,
                provenance={**run.provenance, parts.prefix: dict(condition.facts)},
                capture=capture,
                batch_size=run.machine.batch_size,
                workers=run.machine.workers,
                device=run.machine.device,
                execution=Execution(exact),
                say=tell_line,
                progress=progress,
                energies=found,
            )
            energies[key] = pd.Series({entries[place].sample.path: value for place, value in found.by_place.items()})
    return recordings, energies


class _Energies:
    """Keeps the energies of a recording's images by their places in the selection."""

    def __init__(self) -> None:
        self.by_place: dict[int, float] = {}

    def __call__(self, places: Sequence[int], values: NDArray[np.float64]) -> None:
        self.by_place.update(zip(places, values.tolist(), strict=True))


def transformed(selection: Selection, transform: Transform, paths: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return what a transform makes of some of the selected images, by path."""
    entries = tuple(entry for entry in selection.entries if entry.sample.path in paths)
    (batch,) = batches(replace(selection, entries=entries), transform, batch_size=len(entries), workers=0)
    return {entries[index].sample.path: item for index, item in zip(batch.indices, batch.images, strict=True)}


def thumbnail(image: Image.Image) -> torch.Tensor:
    """Return the central square of an image, `(side, side, 3)`, uint8."""
    square = ImageOps.fit(image, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(square))


def write_thumbnails(path: Path, thumbnails: Mapping[tuple[str, Any], NDArray[np.uint8]]) -> None:
    """Write the pictures of a run, by path and condition, to one file.

    Raises:
        SeProbeError: the file cannot be written.
    """
    stream = BytesIO()
    paths, keys = zip(*thumbnails, strict=True)
    np.savez_compressed(
        stream, paths=np.array(paths), scales=np.array(keys), pixels=np.stack(list(thumbnails.values()))
    )
    write_file(path, stream.getvalue())


def read_thumbnails(path: Path) -> dict[tuple[str, Any], NDArray[np.uint8]]:
    """Read the pictures that `write_thumbnails` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        keys = zip(stored["paths"].tolist(), stored["scales"].tolist(), strict=True)
        return dict(zip(keys, stored["pixels"], strict=True))
