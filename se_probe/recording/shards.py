"""Shards: files with what a run has recorded so far, each complete or absent.

A shard covers neighbouring places of the selection. It holds the facts of the images there, the gates of those of
the chosen classes, the moments of the classes in it, and the images that were skipped. It is one file of
safetensors, named after the first place that it covers and with a checksum over all of it, which is written under a
temporary name, synced to the disk and then renamed: a killed run leaves whole shards only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from se_probe.errors import SeProbeError, first_line
from se_probe.io.files import atomic_write, sync
from se_probe.recording.digest import array_digest, facts_digest
from se_probe.recording.header import Header, width
from se_probe.recording.layout import IMAGE_COLUMNS
from se_probe.recording.moments import ClassMoments, Moments

_TEXTS = [name for name, kind in IMAGE_COLUMNS.items() if kind == "str"]
_NUMBERS = [name for name, kind in IMAGE_COLUMNS.items() if kind != "str"]


class DamagedShardError(SeProbeError):
    """A shard that does not hold what was written into it."""


@dataclass
class Shard:
    """Some images of a recording, in order.

    Attributes:
        images: one row an image, the columns of `IMAGE_COLUMNS`; missing indices are -1, missing names "".
        places: place of each of them in the selection, ascending.
        rows: positions in `images` of those whose gates are kept.
        gates: their gates, `(row, column)`.
        moments: moments of every class in the shard, over all its images.
        skipped: images that were left out, as `place`, `path`, `class`, `reason` and `fingerprint`.
        fingerprints: of the recorded images, in order, None where nothing tells what an image holds.
        run: identifies the run that recorded them.
    """

    images: pd.DataFrame
    places: NDArray[np.int64]
    rows: NDArray[np.int64]
    gates: NDArray[np.floating]
    moments: ClassMoments
    skipped: list[dict[str, Any]] = field(default_factory=list)
    fingerprints: list[str | None] = field(default_factory=list)
    run: str = ""

    @property
    def covered(self) -> range:
        """The places that the shard covers, whether recorded or skipped."""
        places = [*self.places.tolist(), *(item["place"] for item in self.skipped)]
        return range(min(places), max(places) + 1)

    def write(self, folder: Path) -> None:
        """Add the shard to a folder of shards, whole.

        Raises:
            OSError: it cannot be written.
        """
        arrays, facts = self._arrays(), self._facts()
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
        columns = {name: facts["images"][name] if name in _TEXTS else arrays[name] for name in IMAGE_COLUMNS}
        moments = ClassMoments()
        for name, count, mean, m2 in zip(facts["seen"], arrays["count"], arrays["mean"], arrays["m2"], strict=True):
            moments.add(name, Moments(int(count), mean, m2))
        images = pd.DataFrame(columns).astype(dict(IMAGE_COLUMNS))
        places, rows, gates = (arrays[name] for name in ("places", "rows", "gates"))
        if len(places) != len(images) or len(rows) != len(gates):
            raise ValueError("it has parts of different lengths")
        prints = facts.get("fingerprints", [None] * len(images))
        return cls(images, places, rows, gates, moments, facts["skipped"], prints, facts.get("run", ""))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        moments, width = self.moments.by_class.values(), self.gates.shape[1]
        return {
            **{name: self.images[name].to_numpy(IMAGE_COLUMNS[name]) for name in _NUMBERS},
            "places": self.places,
            "rows": self.rows,
            "gates": np.ascontiguousarray(self.gates),
            "count": np.array([item.count for item in moments], dtype=np.int64),
            "mean": _stack([item.mean for item in moments], width),
            "m2": _stack([item.m2 for item in moments], width),
        }

    def _facts(self) -> dict[str, Any]:
        texts = {name: self.images[name].astype(str).tolist() for name in _TEXTS}
        seen = list(self.moments.by_class)
        return {
            "images": texts,
            "seen": seen,
            "skipped": self.skipped,
            "fingerprints": self.fingerprints,
            "run": self.run,
        }


def _checksum(arrays: Mapping[str, NDArray[Any]], facts: dict[str, Any]) -> str:
    return facts_digest([facts, {name: array_digest(values) for name, values in arrays.items()}])


def strings(values: Any) -> NDArray[np.str_]:
    """Return names as numpy's fixed-width text, which zarr stores without pickling."""
    return np.array([str(value) for value in values], dtype=np.str_).reshape(len(values))


def _stack(rows: list[NDArray[np.float64]], width: int) -> NDArray[np.float64]:
    return np.stack(rows) if rows else np.empty((0, width))


def shard_paths(folder: Path) -> list[Path]:
    """Return the whole shards of a folder in the selection's order; what a killed run left half-written is none."""
    return sorted(folder.glob("[0-9]*.safetensors"))


def read_shards(folder: Path, header: Header) -> Iterator[Shard]:
    """Read the shards of a recording in the selection's order.

    Raises:
        DamagedShardError: one is not as it was written, belongs to another run, or covers what another covers too.
    """
    last = 0
    for path in shard_paths(folder):
        shard = Shard.read(path, header)
        if shard.covered.start < last:
            raise DamagedShardError(f"the shard {path} covers image {shard.covered.start}, as the one before it does")
        last = shard.covered.stop
        yield shard
