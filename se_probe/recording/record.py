"""The run itself: images through the network, gates to disk, moments along the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.gates import GateSite
from se_probe.images import Batch, Selected, Selection, batches
from se_probe.labels import ImageClass
from se_probe.models import LoadedModel
from se_probe.recording.columns import Block, width
from se_probe.recording.engine import Execution, engine, shapes_of
from se_probe.recording.hooked import Run
from se_probe.recording.inference import Results, Transfer, start
from se_probe.recording.moments import ClassMoments
from se_probe.recording.probe import probe_of
from se_probe.recording.recording import Recording, open_recording
from se_probe.recording.shards import IMAGE_COLUMNS, Shard
from se_probe.recording.store import Header, complete, create, describe, shard_folder


def record(
    model: LoadedModel,
    sites: Sequence[GateSite],
    selection: Selection,
    path: Path,
    *,
    provenance: dict[str, Any],
    capture: Sequence[str] = (),
    batch_size: int | None = 32,
    workers: int = 0,
    device: str | torch.device = "cpu",
    execution: Execution = Execution(),  # noqa: B008 it is frozen
    shard_images: int = 1024,
    progress: Callable[[int], None] = lambda images: None,
    say: Callable[[str], None] = lambda line: None,
) -> Recording:
    """Record the gates of a network over selected images.

    Args:
        model: the network; it is moved to `device`.
        sites: those of its sites to record.
        selection: the images, in order.
        path: where the recording is made; nothing may be there yet.
        provenance: facts kept with the recording; `model` and `data` are expected among them.
        capture: what to record beside the gates: "logit", "squeeze", "feature".
        batch_size: images in one forward pass, None for the fastest by a short measurement.
        workers: processes that decode images.
        device: where the network runs.
        execution: how it is run: as it is, faster, compiled, in another dtype, without predictions.
        shard_images: number of images after which what was recorded is put on disk. A run that is stopped
            leaves it there, marked as incomplete.
        progress: called with the number of images done since the last call.
        say: is given each line about how the network is run.

    Returns:
        The recording, complete.

    Raises:
        SeProbeError: no image of a chosen class could be decoded; the recording stays, marked as incomplete.
    """
    classes = tuple({"name": item.name, "index": item.index, "wnid": item.wnid} for item in _classes(selection))
    network = model.network.to(device)
    blocks = tuple(Block(signal, site, shape) for (signal, site), shape in shapes_of(network, sites, capture).items())
    header = Header(tuple(sites), blocks, classes, tuple(item.name for item in selection.chosen), provenance)
    create(path, header)
    probe = probe_of(model, selection, execution.probes)
    options: dict[str, Any] = {"execution": execution, "batch_size": batch_size, "images": len(selection.entries)}
    with engine(network, sites, capture, probe, **options, say=say) as runs:
        header = replace(header, provenance={**provenance, "execution": runs.facts})
        describe(path, header)
        loaded = batches(selection, model.transform, batch_size=runs.batch_size, workers=workers)
        with _ShardWriter(path, width(blocks), shard_images) as writer:
            for batch in _recorded(model, runs.run, selection, loaded):
                writer.add(batch)
                progress(len(batch.images) + len(batch.skipped))
    _require_every_class(selection, writer)
    complete(path, header)
    return open_recording(path)


def _classes(selection: Selection) -> list[ImageClass]:
    return list(dict.fromkeys(entry.sample.image_class for entry in selection.entries))


def _require_every_class(selection: Selection, writer: _ShardWriter) -> None:
    for image_class in selection.chosen:
        if image_class.name not in writer.seen:
            raise SeProbeError(
                f"none of the images of {image_class.describe()} could be decoded ({writer.last_reason}); "
                "repair them or choose another class."
            )


@dataclass(frozen=True)
class _Recorded:
    """One batch on the host: facts of its images, their signals, and the images that were skipped."""

    images: pd.DataFrame
    columns: NDArray[np.floating] | None
    skipped: list[dict[str, str]]


def _recorded(model: LoadedModel, run: Run, selection: Selection, loaded: Iterator[Batch]) -> Iterator[_Recorded]:
    """Yield batches one step late, so that the device computes one while the host takes in the one before."""
    pending: tuple[Batch, Transfer | None] | None = None
    for batch in loaded:
        units = [_unit(selection.entries[index]) for index in batch.indices]
        transfer = start(run, batch.images, units) if units else None
        if pending is not None:
            yield _received(model, selection, *pending)
        pending = batch, transfer
    if pending is not None:
        yield _received(model, selection, *pending)


def _unit(entry: Selected) -> int:
    index = entry.sample.image_class.index
    return -1 if index is None else index


def _received(model: LoadedModel, selection: Selection, batch: Batch, transfer: Transfer | None) -> _Recorded:
    results = transfer.results() if transfer is not None else None
    entries = [selection.entries[index] for index in batch.indices]
    skipped = [
        {
            "path": skip.path,
            "class": selection.entries[skip.index].sample.image_class.name,
            "reason": skip.reason,
        }
        for skip in batch.skipped
    ]
    return _Recorded(_facts(model, entries, results), results.columns if results else None, skipped)


def _facts(model: LoadedModel, entries: Sequence[Selected], results: Results | None) -> pd.DataFrame:
    predicted = results.predicted if results else np.empty(0, np.int64)
    columns = {
        "path": [entry.sample.path for entry in entries],
        "class": [entry.sample.image_class.name for entry in entries],
        "class_index": [_unit(entry) for entry in entries],
        "wnid": [entry.sample.image_class.wnid or "" for entry in entries],
        "role": [entry.role for entry in entries],
        "predicted": [_label(model, int(index)) for index in predicted],
        "predicted_index": predicted,
        "probability": results.probability if results else [],
        "class_probability": results.class_probability if results else [],
    }
    return pd.DataFrame(columns).astype(dict(IMAGE_COLUMNS))


def _label(model: LoadedModel, unit: int) -> str:
    if model.labels is None or not 0 <= unit < len(model.labels.classes):
        return ""
    return model.labels.classes[unit].name


class _ShardWriter:
    """Gathers batches and puts a shard on disk whenever enough images are there, and at the end or a stop."""

    def __init__(self, path: Path, columns: int, shard_images: int) -> None:
        self._folder = shard_folder(path)
        self._columns = columns
        self._shard_images = shard_images
        self._number = 0
        self._held: list[_Recorded] = []
        self.seen: set[str] = set()
        self.last_reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def add(self, batch: _Recorded) -> None:
        self._held.append(batch)
        self.seen.update(batch.images["class"])
        self.last_reason = batch.skipped[-1]["reason"] if batch.skipped else self.last_reason
        if sum(len(item.images) for item in self._held) >= self._shard_images:
            self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, []
        columns = [batch.columns for batch in held if batch.columns is not None]
        if not held:
            return
        images = pd.concat([batch.images for batch in held], ignore_index=True)
        values = np.concatenate(columns) if columns else np.empty((0, self._columns), np.float32)
        moments = ClassMoments()
        moments.update(images["class"].tolist(), values)
        rows = np.flatnonzero(images["role"] == "chosen")
        skipped = [skip for batch in held for skip in batch.skipped]
        Shard(images, rows, values[rows], moments, skipped).write(self._folder, self._number)
        self._number += 1
