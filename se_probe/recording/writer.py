"""Gathers what a run records and puts it on disk in shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pandas as pd

from se_probe.io.files import writing
from se_probe.recording.moments import ClassMoments
from se_probe.recording.recorded_batch import RecordedBatch
from se_probe.recording.shards import Shard


class ShardWriter:
    """Puts shards into a folder whenever enough images are there, and at the end or at a stop.

    Args:
        folder: where the shards go.
        shard_images: number of images, recorded or skipped, after which a shard is written.
    """

    def __init__(self, folder: Path, shard_images: int) -> None:
        self._folder = folder
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
            for shard in _shards(held):
                with writing(self._folder.parent):
                    shard.write(self._folder)


def _shards(held: Sequence[RecordedBatch]) -> list[Shard]:
    """Return what is held as one shard for each run of neighbouring places."""
    images = pd.concat([batch.images for batch in held], ignore_index=True)
    places = np.concatenate([batch.places for batch in held])
    columns = np.concatenate([batch.columns for batch in held])
    skipped = [skip for batch in held for skip in batch.skipped]
    covered = np.sort(np.concatenate([places, np.array([skip["place"] for skip in skipped], dtype=np.int64)]))
    shards = []
    for run in np.split(covered, np.flatnonzero(np.diff(covered) > 1) + 1):
        here = slice(*np.searchsorted(places, (run[0], run[-1] + 1)))
        table, values = images[here].reset_index(drop=True), columns[here]
        moments = ClassMoments()
        moments.update(table["class"].tolist(), values)
        rows = np.flatnonzero(table["role"] == "chosen")
        left_out = [skip for skip in skipped if run[0] <= skip["place"] <= run[-1]]
        shards.append(Shard(table, places[here], rows, values[rows], moments, left_out))
    return shards
