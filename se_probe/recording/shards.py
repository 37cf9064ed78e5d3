"""What a run has recorded so far: batches in memory, and shards, files that are complete or absent.

A shard covers neighbouring images of the selection. It holds their facts, the gates of those of the chosen classes, the
moments of its classes, and the skipped images. It is a safetensors file with a checksum, named after the first index
(`place`) in the selection. It is written under a temporary name, synced and then renamed: a killed run leaves whole
shards only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from se_probe.errors import SeProbeError, first_line
from se_probe.images import Batch, Selection
from se_probe.io.files import atomic_write, sync, writing
from se_probe.models import LoadedModel
from se_probe.recording.forward import Results
from se_probe.recording.header import Header, SignalColumns, facts_digest, split, width
from se_probe.recording.layout import IMAGE_COLUMNS, array_digest
from se_probe.recording.moments import ClassMoments, Moments

_TEXTS = [name for name, kind in IMAGE_COLUMNS.items() if kind == "str"]


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
    """Combine a batch and its results; images with NaN or infinite signals are skipped, with the site as reason."""
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


class DamagedShardError(SeProbeError):
    """A shard whose content is not what was written."""


@dataclass(frozen=True)
class Shard:
    """Some images of a recording, in order.

    Attributes:
        images: one row per image, as in `RecordedBatch`; missing indices are -1, missing names "".
        rows: rows of `images` whose gates are kept.
        gates: their gates, `(row, column)`.
        moments: moments of each class, over all images of the shard.
        skipped: images that were left out, as in `RecordedBatch`.
        run: identifies the run that recorded them.
    """

    images: pd.DataFrame
    rows: NDArray[np.int64]
    gates: NDArray[np.floating]
    moments: ClassMoments
    skipped: list[dict[str, Any]]
    run: str

    @property
    def covered(self) -> range:
        """The indices in the selection that the shard covers, recorded or skipped."""
        places = [*self.images["place"].tolist(), *(item["place"] for item in self.skipped)]
        return range(min(places), max(places) + 1)

    def write(self, folder: Path) -> None:
        """Write the shard into a folder, atomically."""
        moments = self.moments.by_class.values()
        size = len(moments), self.gates.shape[1]
        arrays = {
            **{name: self.images[name].to_numpy(kind) for name, kind in IMAGE_COLUMNS.items() if kind != "str"},
            "places": self.images["place"].to_numpy(),
            "rows": self.rows,
            "gates": np.ascontiguousarray(self.gates),
            "count": np.array([item.count for item in moments], dtype=np.int64),
            "mean": np.array([item.mean for item in moments]).reshape(size),
            "m2": np.array([item.m2 for item in moments]).reshape(size),
        }
        facts = {
            "images": {name: self.images[name].astype(str).tolist() for name in _TEXTS},
            "seen": list(self.moments.by_class),
            "skipped": self.skipped,
            "fingerprints": self.images["fingerprint"].tolist(),
            "run": self.run,
        }
        metadata = {"facts": json.dumps(facts), "sha256": _checksum(arrays, facts)}
        atomic_write(folder / f"{self.covered.start:09d}.safetensors", save(arrays, metadata))
        sync(folder)

    @classmethod
    def read(cls, path: Path, header: Header) -> Shard:
        """Read a shard of the recording with a header; raise DamagedShardError where it is not as it was written."""
        try:
            shard = cls._read(path)
            fits = shard.gates.shape[1:] == (width(header.signals),) and shard.covered.stop <= header.selected
        except DamagedShardError:
            raise
        except Exception as error:  # A shard with the right checksum may still have any content.
            raise DamagedShardError(f"the shard {path} is damaged: it cannot be read ({first_line(error)})") from error
        if shard.run != header.run:
            raise DamagedShardError(f"the shard {path} belongs to another run ({shard.run!r}, not {header.run!r})")
        if not fits:
            raise DamagedShardError(f"the shard {path} is damaged: it does not fit the recording")
        return shard

    @classmethod
    def _read(cls, path: Path) -> Shard:
        with safe_open(path, framework="numpy") as stored:
            metadata = stored.metadata() or {}
            arrays: dict[str, NDArray[Any]] = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        facts = json.loads(metadata["facts"])
        if _checksum(arrays, facts) != metadata["sha256"]:
            raise DamagedShardError(f"the shard {path} is damaged: its content does not have its checksum")
        moments = ClassMoments()
        for name, count, mean, m2 in zip(facts["seen"], arrays["count"], arrays["mean"], arrays["m2"], strict=True):
            moments.add(name, Moments(int(count), mean, m2))
        columns = {name: facts["images"][name] if name in _TEXTS else arrays[name] for name in IMAGE_COLUMNS}
        prints = facts.get("fingerprints", [None] * len(arrays["places"]))
        columns |= {"place": arrays["places"], "fingerprint": np.array(prints, dtype=object)}
        if len(arrays["rows"]) != len(arrays["gates"]):
            raise ValueError("it has parts of different lengths")
        images = pd.DataFrame(columns).astype(dict(IMAGE_COLUMNS))
        return cls(images, arrays["rows"], arrays["gates"], moments, facts["skipped"], facts.get("run", ""))


def _checksum(arrays: Mapping[str, NDArray[Any]], facts: dict[str, Any]) -> str:
    return facts_digest([facts, {name: array_digest(values) for name, values in arrays.items()}])


class ShardWriter:
    """Writes a shard whenever `shard_images` images are collected, recorded or skipped, and at the end or at a stop."""

    def __init__(self, folder: Path, shard_images: int, run: str) -> None:
        self._folder, self._shard_images, self._run = folder, shard_images, run
        self._pending: list[RecordedBatch] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def add(self, batch: RecordedBatch) -> None:
        """Add the next batch, of later indices than those before."""
        self._pending.append(batch)
        if sum(item.count for item in self._pending) >= self._shard_images:
            self._flush()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            for shard in _shards(pending, self._run):
                with writing(self._folder.parent):
                    shard.write(self._folder)


def _shards(batches: Sequence[RecordedBatch], run: str) -> Iterator[Shard]:
    """Yield the collected batches as one shard for each range of neighbouring images."""
    images = pd.concat([batch.images for batch in batches], ignore_index=True)
    columns = np.concatenate([batch.columns for batch in batches])
    skipped = [skip for batch in batches for skip in batch.skipped]
    covered = np.sort([*images["place"], *(skip["place"] for skip in skipped)])
    for part in np.split(covered, np.flatnonzero(np.diff(covered) > 1) + 1):
        here = images["place"].between(part[0], part[-1]).to_numpy()
        table, values = images[here], columns[here]
        moments = ClassMoments()
        moments.update(table["class"].tolist(), values)
        rows = np.flatnonzero(table["role"] == "chosen")
        skipped_here = [skip for skip in skipped if part[0] <= skip["place"] <= part[-1]]
        yield Shard(table, rows, values[rows], moments, skipped_here, run)


def shard_folder(path: Path) -> Path:
    """Return the folder of a recording's shards."""
    return path / "shards"


def scan_shards(path: Path, header: Header) -> Iterator[tuple[Path, Shard | DamagedShardError]]:
    """Yield the shards of a recording in the selection's order, or the damage of each; two must not overlap."""
    end = 0
    for file in sorted(shard_folder(path).glob("[0-9]*.safetensors")):
        try:
            shard = Shard.read(file, header)
            if shard.covered.start < end:
                raise DamagedShardError(f"the shard {file} covers image {shard.covered.start}, as the one before it")
        except DamagedShardError as error:
            yield file, error
        else:
            end = shard.covered.stop
            yield file, shard


def read_shards(path: Path, header: Header) -> Iterator[Shard]:
    """Yield the shards of a recording in the selection's order; raise DamagedShardError at the first damaged one."""
    for _, shard in scan_shards(path, header):
        if isinstance(shard, DamagedShardError):
            raise shard
        yield shard
