"""Collect the results of batches (facts of images, signals, skipped images) and write them as shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.images import Batch, Selected, Selection
from se_probe.io.files import writing
from se_probe.models import LoadedModel
from se_probe.recording.forward import Results
from se_probe.recording.header import SignalColumns, split
from se_probe.recording.layout import IMAGE_COLUMNS
from se_probe.recording.moments import ClassMoments
from se_probe.recording.shards import Shard


@dataclass(frozen=True)
class RecordedBatch:
    """One batch on the host.

    Attributes:
        images: facts of its images, the columns of `IMAGE_COLUMNS`.
        places: their places in the selection, ascending.
        columns: their signals, `(image, column)`.
        skipped: images that are left out: place, path, class, reason and fingerprint.
        fingerprints: of the recorded images, None where nothing tells what an image holds.
    """

    images: pd.DataFrame
    places: NDArray[np.int64]
    columns: NDArray[np.floating]
    skipped: list[dict[str, Any]]
    fingerprints: list[str | None]

    @property
    def count(self) -> int:
        """Number of images, recorded and skipped."""
        return len(self.places) + len(self.skipped)


def take_in(
    model: LoadedModel, selection: Selection, blocks: Sequence[SignalColumns], batch: Batch, passes: Sequence[Results]
) -> RecordedBatch:
    """Combine the results of a batch; images with NaN or infinite signals are skipped, with the site as reason.

    Args:
        model: the network.
        selection: all images of the run; the batch's indices are places in it.
        blocks: what the columns of the results are.
        batch: the images.
        passes: results of its forward passes, in order.
    """
    entries = [selection.entries[place] for place in batch.indices]
    skipped = [_skip(selection, skip.index, skip.reason) for skip in batch.skipped]
    width = sum(block.width for block in blocks)
    columns = np.concatenate([item.columns for item in passes]) if passes else np.empty((0, width), np.float32)
    facts = _facts(model, entries, passes)
    sound = np.isfinite(columns).all(axis=1)
    places = np.array(batch.indices, dtype=np.int64)
    skipped += [_skip(selection, int(places[row]), _defect(columns[row], blocks)) for row in np.flatnonzero(~sound)]
    kept = facts.iloc[np.flatnonzero(sound)].reset_index(drop=True)
    prints = [entries[row].sample.fingerprint for row in np.flatnonzero(sound)]
    return RecordedBatch(kept, places[sound], columns[sound], sorted(skipped, key=lambda item: item["place"]), prints)


def unit_of(entry: Selected) -> int:
    """Return the output unit of a selected image's class, -1 where there is none."""
    index = entry.sample.image_class.index
    return -1 if index is None else index


def _skip(selection: Selection, place: int, reason: str) -> dict[str, Any]:
    sample = selection.entries[place].sample
    facts = {"place": place, "path": sample.path, "class": sample.image_class.name, "reason": reason}
    return facts | {"fingerprint": sample.fingerprint}


def _defect(row: NDArray[np.floating], blocks: Sequence[SignalColumns]) -> str:
    """Return why an image is skipped: the first site with NaN or infinite values, and how many others."""
    parts = split(row[None], blocks)
    wrong = [block for block in blocks if not np.isfinite(parts[block]).all()]
    kind = "NaN" if np.isnan(parts[wrong[0]]).any() else "infinite values"
    signal = "gates" if wrong[0].signal == "gate" else wrong[0].signal
    others = f" and {len(wrong) - 1} other places" if len(wrong) > 1 else ""
    return f"{kind} in the {signal} of {wrong[0].site}{others}"


def _facts(model: LoadedModel, entries: Sequence[Selected], passes: Sequence[Results]) -> pd.DataFrame:
    predicted = np.concatenate([np.empty(0, np.int64), *(item.predicted for item in passes)])
    columns = {
        "path": [entry.sample.path for entry in entries],
        "class": [entry.sample.image_class.name for entry in entries],
        "class_index": [unit_of(entry) for entry in entries],
        "wnid": [entry.sample.image_class.wnid or "" for entry in entries],
        "role": [entry.role for entry in entries],
        "predicted": [_label(model, int(index)) for index in predicted],
        "predicted_index": predicted,
        "probability": np.concatenate([np.empty(0), *(item.probability for item in passes)]),
        "class_probability": np.concatenate([np.empty(0), *(item.class_probability for item in passes)]),
    }
    return pd.DataFrame(columns).astype(dict(IMAGE_COLUMNS))


def _label(model: LoadedModel, unit: int) -> str:
    if model.labels is None or not 0 <= unit < len(model.labels.classes):
        return ""
    return model.labels.classes[unit].name


class ShardWriter:
    """Writes a shard whenever enough images are collected, and at the end or at a stop.

    Args:
        folder: where the shards go.
        shard_images: number of images, recorded or skipped, after which a shard is written.
        run: identifies the run; it is kept in every shard.
    """

    def __init__(self, folder: Path, shard_images: int, run: str) -> None:
        self._folder = folder
        self._run = run
        self._shard_images = shard_images
        self._held: list[RecordedBatch] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def add(self, batch: RecordedBatch) -> None:
        """Add the next batch, of later places than those before.

        Raises:
            SeProbeError: the disk is full or the like; whole shards stay.
        """
        self._held.append(batch)
        if sum(item.count for item in self._held) >= self._shard_images:
            self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held:
            for shard in _shards(held, self._run):
                with writing(self._folder.parent):
                    shard.write(self._folder)


def _shards(held: Sequence[RecordedBatch], run: str) -> list[Shard]:
    """Return the collected batches as one shard for each range of neighbouring places."""
    images = pd.concat([batch.images for batch in held], ignore_index=True)
    places = np.concatenate([batch.places for batch in held])
    columns = np.concatenate([batch.columns for batch in held])
    skipped = [skip for batch in held for skip in batch.skipped]
    covered = np.sort(np.concatenate([places, np.array([skip["place"] for skip in skipped], dtype=np.int64)]))
    shards = []
    prints = [item for batch in held for item in batch.fingerprints]
    for part in np.split(covered, np.flatnonzero(np.diff(covered) > 1) + 1):
        here = slice(*np.searchsorted(places, (part[0], part[-1] + 1)))
        table, values = images[here].reset_index(drop=True), columns[here]
        moments = ClassMoments()
        moments.update(table["class"].tolist(), values)
        rows = np.flatnonzero(table["role"] == "chosen")
        left_out = [skip for skip in skipped if part[0] <= skip["place"] <= part[-1]]
        shards.append(Shard(table, places[here], rows, values[rows], moments, left_out, prints[here], run))
    return shards
