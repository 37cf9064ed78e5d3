"""Shards: what a run has recorded so far, each whole or not there at all.

A shard holds the facts of its images, the gates of those of the chosen classes, and the moments of the classes
in it. It is written under a temporary name and then renamed, so that a killed run leaves whole shards only.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from se_probe.recording.moments import ClassMoments, Moments

ZARR_FORMAT: Literal[2] = 2  # Version 3 has no specification for arrays of strings yet.
IMAGE_COLUMNS: Mapping[str, str] = {
    "path": "str",
    "class": "str",
    "class_index": "int64",
    "wnid": "str",
    "role": "str",
    "predicted": "str",
    "predicted_index": "int64",
    "probability": "float64",
    "class_probability": "float64",
}


@dataclass
class Shard:
    """Some images of a recording, in order.

    Attributes:
        images: one row an image, the columns of `IMAGE_COLUMNS`; missing indices are -1, missing names "".
        rows: positions in `images` of those whose gates are kept.
        gates: their gates, `(row, column)`.
        moments: moments of every class in the shard, over all its images.
        skipped: images that could not be decoded, as `path`, `class` and `reason`.
    """

    images: pd.DataFrame
    rows: NDArray[np.int64]
    gates: NDArray[np.floating]
    moments: ClassMoments
    skipped: list[dict[str, str]] = field(default_factory=list)

    def write(self, folder: Path, number: int) -> None:
        """Add the shard to a folder of shards, whole."""
        temporary, final = folder / f".{number:06d}", folder / f"{number:06d}"
        shutil.rmtree(temporary, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._dataset().to_zarr(temporary, zarr_format=ZARR_FORMAT, consolidated=False, mode="w-")
        temporary.rename(final)

    @classmethod
    def read(cls, path: Path) -> Shard:
        """Read a shard back."""
        with xr.open_zarr(path, consolidated=False, chunks=None, decode_cf=False) as opened:
            data = opened.load()
        moments = ClassMoments()
        for name, count, mean, m2 in zip(
            data["seen"].values.tolist(), data["count"].values, data["mean"].values, data["m2"].values, strict=True
        ):
            moments.add(name, Moments(int(count), mean, m2))
        images = pd.DataFrame({name: data[name].values for name in IMAGE_COLUMNS}).astype(dict(IMAGE_COLUMNS))
        return cls(images, data["rows"].values, data["gates"].values, moments, json.loads(data.attrs["skipped"]))

    def _dataset(self) -> xr.Dataset:
        moments = self.moments.by_class
        variables: dict[str, Any] = {
            name: ("image", strings(self.images[name]) if kind == "str" else self.images[name].to_numpy(kind))
            for name, kind in IMAGE_COLUMNS.items()
        }
        width = self.gates.shape[1]
        variables |= {
            "rows": ("row", self.rows),
            "gates": (("row", "column"), self.gates),
            "seen": ("moment", strings(list(moments))),
            "count": ("moment", np.array([item.count for item in moments.values()], dtype=np.int64)),
            "mean": (("moment", "column"), _stack([item.mean for item in moments.values()], width)),
            "m2": (("moment", "column"), _stack([item.m2 for item in moments.values()], width)),
        }
        return xr.Dataset(variables, attrs={"skipped": json.dumps(self.skipped)})


def strings(values: Any) -> NDArray[np.str_]:
    """Return names as numpy's fixed-width text, which zarr stores without pickling."""
    return np.array([str(value) for value in values], dtype=np.str_).reshape(len(values))


def _stack(rows: list[NDArray[np.float64]], width: int) -> NDArray[np.float64]:
    return np.stack(rows) if rows else np.empty((0, width))


def read_shards(folder: Path) -> Iterator[Shard]:
    """Read the whole shards of a folder, in order; what a killed run left half-written is passed over."""
    for path in sorted(folder.glob("[0-9]*")):
        yield Shard.read(path)
