"""Combine the results of a batch: facts of its images, their signals, and the images that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.images import Batch, Selected, Selection
from se_probe.models import LoadedModel
from se_probe.recording.forward import Results
from se_probe.recording.header import SignalColumns, split, width
from se_probe.recording.layout import IMAGE_COLUMNS


@dataclass(frozen=True)
class RecordedBatch:
    """One batch on the host.

    Attributes:
        images: facts of its images: the columns of `IMAGE_COLUMNS`, `place` in the selection, ascending, and
            `fingerprint`, None where nothing tells what an image holds.
        columns: their signals, `(image, column)`.
        skipped: images that are left out: place, path, class, reason and fingerprint.
    """

    images: pd.DataFrame
    columns: NDArray[np.floating]
    skipped: list[dict[str, Any]]

    @property
    def count(self) -> int:
        """Number of images, recorded and skipped."""
        return len(self.images) + len(self.skipped)


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
    images = _facts(model, selection, batch.indices, passes)
    columns = np.concatenate([np.empty((0, width(blocks)), np.float32), *(item.columns for item in passes)])
    sound = np.isfinite(columns).all(axis=1)
    skipped = [_skip(selection, skip.index, skip.reason) for skip in batch.skipped]
    skipped += [_skip(selection, batch.indices[row], _defect(columns[row], blocks)) for row in np.flatnonzero(~sound)]
    return RecordedBatch(images[sound], columns[sound], sorted(skipped, key=lambda item: item["place"]))


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


def _facts(model: LoadedModel, selection: Selection, places: Sequence[int], passes: Sequence[Results]) -> pd.DataFrame:
    entries = [selection.entries[place] for place in places]
    predicted = np.concatenate([np.empty(0, np.int64), *(item.predicted for item in passes)])
    labels = model.labels.classes if model.labels else ()
    return pd.DataFrame(
        {
            "path": [entry.sample.path for entry in entries],
            "class": [entry.sample.image_class.name for entry in entries],
            "class_index": [unit_of(entry) for entry in entries],
            "wnid": [entry.sample.image_class.wnid or "" for entry in entries],
            "role": [entry.role for entry in entries],
            "predicted": [labels[unit].name if 0 <= unit < len(labels) else "" for unit in predicted.tolist()],
            "predicted_index": predicted,
            "probability": np.concatenate([np.empty(0), *(item.probability for item in passes)]),
            "class_probability": np.concatenate([np.empty(0), *(item.class_probability for item in passes)]),
            "place": places,
            "fingerprint": pd.Series([entry.sample.fingerprint for entry in entries], dtype="object"),
        }
    ).astype({**IMAGE_COLUMNS, "place": "int64"})
