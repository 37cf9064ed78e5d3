"""Shards: files with what a run has recorded so far, each complete or absent.

A shard covers neighbouring places of the selection. It holds the facts of the images there, the gates of those of
the chosen classes, the moments of the classes in it, and the images that were skipped. It is one file of
safetensors, named after the first place that it covers and with a checksum over all of it, which is written under a
temporary name, synced to the disk and then renamed: a killed run leaves whole shards only.
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
from se_probe.io.files import atomic_write, sync, writing
from se_probe.recording.batch import RecordedBatch
from se_probe.recording.header import Header, facts_digest, width
from se_probe.recording.layout import IMAGE_COLUMNS, array_digest
from se_probe.recording.moments import ClassMoments, Moments

_TEXTS = [name for name, kind in IMAGE_COLUMNS.items() if kind == "str"]


class DamagedShardError(SeProbeError):
    """A shard that does not hold what was written into it."""


@dataclass(frozen=True)
class Shard:
    """Some images of a recording, in order.

    Attributes:
        images: one row an image, as in `RecordedBatch`; missing indices are -1, missing names "".
        rows: positions in `images` of those whose gates are kept.
        gates: their gates, `(row, column)`.
        moments: moments of every class in the shard, over all its images.
        skipped: images that were left out, as `place`, `path`, `class`, `reason` and `fingerprint`.
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
        """The places that the shard covers, whether recorded or skipped."""
        places = [*self.images["place"].tolist(), *(item["place"] for item in self.skipped)]
        return range(min(places), max(places) + 1)

    def write(self, folder: Path) -> None:
        """Add the shard to a folder of shards, whole.

        Raises:
            OSError: it cannot be written.
        """
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
    def read(cls, path: Path, header: Header | None = None) -> Shard:
        """Read a shard back.

        Args:
            path: the shard.
            header: that of the recording which it must belong to, None where that is not asked.

        Raises:
            DamagedShardError: it is not as it was written, or belongs to another run.
        """
        try:
            shard = cls._read(path)
        except DamagedShardError:
            raise
        except Exception as error:  # A stranger's shard may have the right checksum and any content.
            raise DamagedShardError(f"the shard {path} is damaged: it cannot be read ({first_line(error)})") from error
        if header is not None:
            if shard.run != header.run:
                raise DamagedShardError(f"the shard {path} belongs to another run ({shard.run!r}, not {header.run!r})")
            if shard.gates.shape[1:] != (width(header.signals),) or shard.covered.stop > header.selected:
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
    """Writes a shard whenever enough images are collected, and at the end or at a stop.

    Args:
        folder: where the shards go.
        shard_images: number of images, recorded or skipped, after which a shard is written.
        run: identifies the run; it is kept in every shard.
    """

    def __init__(self, folder: Path, shard_images: int, run: str) -> None:
        self._folder, self._shard_images, self._run = folder, shard_images, run
        self._held: list[RecordedBatch] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def add(self, batch: RecordedBatch) -> None:
        """Add the next batch, of later places than those before."""
        self._held.append(batch)
        if sum(item.count for item in self._held) >= self._shard_images:
            self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held:
            for shard in _shards(held, self._run):
                with writing(self._folder.parent):
                    shard.write(self._folder)


def _shards(held: Sequence[RecordedBatch], run: str) -> Iterator[Shard]:
    """Yield the collected batches as one shard for each range of neighbouring places."""
    images = pd.concat([batch.images for batch in held], ignore_index=True)
    columns = np.concatenate([batch.columns for batch in held])
    skipped = [skip for batch in held for skip in batch.skipped]
    covered = np.sort([*images["place"], *(skip["place"] for skip in skipped)])
    for part in np.split(covered, np.flatnonzero(np.diff(covered) > 1) + 1):
        here = images["place"].between(part[0], part[-1]).to_numpy()
        table, values = images[here], columns[here]
        moments = ClassMoments()
        moments.update(table["class"].tolist(), values)
        rows = np.flatnonzero(table["role"] == "chosen")
        left_out = [skip for skip in skipped if part[0] <= skip["place"] <= part[-1]]
        yield Shard(table, rows, values[rows], moments, left_out, run)


def shard_folder(path: Path) -> Path:
    """Return the folder of a recording's shards."""
    return path / "shards"


def shard_paths(path: Path) -> list[Path]:
    """Return the whole shards of a recording in the selection's order; what a killed run left half-written is none."""
    return sorted(shard_folder(path).glob("[0-9]*.safetensors"))


def read_shards(path: Path, header: Header) -> Iterator[Shard]:
    """Read the shards of a recording in the selection's order."""
    last = 0
    for file in shard_paths(path):
        shard = Shard.read(file, header)
        if shard.covered.start < last:
            raise DamagedShardError(f"the shard {file} covers image {shard.covered.start}, as the one before it does")
        last = shard.covered.stop
        yield shard
