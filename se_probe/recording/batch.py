"""Combine the results of a batch: facts of its images, their signals, and the skipped images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.images import Batch, Selection
from se_probe.models import LoadedModel
from se_probe.recording.forward import Results
from se_probe.recording.header import SignalColumns, split
from se_probe.recording.layout import IMAGE_COLUMNS


@dataclass(frozen=True)
class RecordedBatch:
    """One batch on the host.

    Attributes:
        images: facts of its images: the columns of `IMAGE_COLUMNS`, `place` (index in the selection, ascending) and
            `fingerprint`, None where it is not known.
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


def recorded_batch(
    model: LoadedModel, selection: Selection, blocks: Sequence[SignalColumns], batch: Batch, results: Results
) -> RecordedBatch:
    """Combine a batch and its results; images with NaN or infinite signals are skipped, with the site as reason.

    Args:
        model: the network.
        selection: all images of the run.
        blocks: the columns of the results.
        batch: the images.
        results: one row an image.
    """
    columns = results.columns
    sound = np.isfinite(columns).all(axis=1)
    skipped = [_skip(selection, skip.index, skip.reason) for skip in batch.skipped]
    skipped += [_skip(selection, batch.indices[row], _defect(columns[row], blocks)) for row in np.flatnonzero(~sound)]
    images = _facts(model, selection, batch.indices, results)
    return RecordedBatch(images[sound], columns[sound], sorted(skipped, key=lambda item: item["place"]))


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


def _facts(model: LoadedModel, selection: Selection, places: Sequence[int], results: Results) -> pd.DataFrame:
    entries = [selection.entries[place] for place in places]
    labels = model.labels.classes if model.labels else ()
    return pd.DataFrame(
        {
            "path": [entry.sample.path for entry in entries],
            "class": [entry.sample.image_class.name for entry in entries],
            "class_index": [entry.unit for entry in entries],
            "wnid": [entry.sample.image_class.wnid or "" for entry in entries],
            "role": [entry.role for entry in entries],
            "predicted": [labels[unit].name if 0 <= unit < len(labels) else "" for unit in results.predicted.tolist()],
            "predicted_index": results.predicted,
            "probability": results.probability,
            "class_probability": results.class_probability,
            "place": places,
            "fingerprint": pd.Series([entry.sample.fingerprint for entry in entries], dtype="object"),
        }
    ).astype({**IMAGE_COLUMNS, "place": "int64"})
