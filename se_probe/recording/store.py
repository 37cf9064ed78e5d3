"""The layout of a recording on disk: an xarray DataTree over zarr, made of shards and then of one piece.

    /                    attributes: schema, status, provenance, sites, classes, chosen, skipped
    /images              facts of every image: path, class, predicted class, probability ...
    /gates               coordinate image: rows of /images that have gates
    /gates/SE_2_3        gate (image, channel) or (image, branch, channel); logit, squeeze ... where captured
    /moments             count (class), coordinate class
    /moments/SE_2_3      mean, m2 (class, [branch,] channel), float64; logit_mean, logit_m2 ... where captured

While a run is under way, and after one that was killed, the status is "incomplete" and `shards/` holds what was
recorded. The status changes to "complete" when everything above is on disk; only then do the shards go.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from se_probe.gates import GateSite
from se_probe.recording.columns import Block, split, width
from se_probe.recording.moments import ClassMoments
from se_probe.recording.shards import IMAGE_COLUMNS, ZARR_FORMAT, Shard, read_shards, strings

SCHEMA = 1
INCOMPLETE, COMPLETE = "incomplete", "complete"
_ROWS_AT_ONCE = 4096
_CHUNK_ROWS = 256


@dataclass(frozen=True)
class Header:
    """What is known of a recording before its first image."""

    sites: tuple[GateSite, ...]
    blocks: tuple[Block, ...]
    classes: tuple[dict[str, Any], ...]
    chosen: tuple[str, ...]
    provenance: dict[str, Any]

    def attributes(self, status: str, skipped: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
        """Return the attributes of the recording's root."""
        return {
            "schema": SCHEMA,
            "status": status,
            "sites": [site.to_dict() for site in self.sites],
            "signals": [block.to_dict() for block in self.blocks],
            "classes": list(self.classes),
            "chosen": list(self.chosen),
            "provenance": self.provenance,
            "skipped": list(skipped),
        }


def create(path: Path, header: Header) -> None:
    """Start a recording without images at a path where nothing is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir()
    root = zarr.open_group(path, mode="w", zarr_format=ZARR_FORMAT, attributes=header.attributes(INCOMPLETE))
    root.create_group(shard_folder(path).name)


def describe(path: Path, header: Header) -> None:
    """State what is known of a recording anew, before its first image."""
    root = zarr.open_group(path, mode="r+", zarr_format=ZARR_FORMAT)
    root.attrs.update(header.attributes(INCOMPLETE))


def shard_folder(path: Path) -> Path:
    """Return where the shards of a recording lie."""
    return path / "shards"


def complete(path: Path, header: Header) -> None:
    """Put a recording's shards together, mark it as complete, and remove them."""
    shards = shard_folder(path)
    images, moments, skipped = _summary(shards)
    parts = _parts(shards, header.blocks)
    tree = _tree(header, images, moments, next(parts), header.attributes(INCOMPLETE, skipped))
    encoding: dict[str, dict[str, Any]] = {}
    for block in header.blocks:
        chunks = {"chunks": (_CHUNK_ROWS, *block.shape)}
        encoding.setdefault(f"/gates/{block.site}", {})[block.signal] = chunks
    tree.to_zarr(path, mode="a", zarr_format=ZARR_FORMAT, consolidated=False, encoding=encoding)
    for part in parts:
        _append(path, part)
    group = zarr.open_group(path, mode="r+", zarr_format=ZARR_FORMAT, use_consolidated=False)
    group.attrs["status"] = COMPLETE
    shutil.rmtree(shards)
    zarr.consolidate_metadata(group.store, zarr_format=ZARR_FORMAT)


def read_incomplete(path: Path, header: Header) -> xr.DataTree:
    """Return what an incomplete recording holds, in memory."""
    shards = shard_folder(path)
    images, moments, skipped = _summary(shards)
    whole = _concatenate(list(_parts(shards, header.blocks)))
    return _tree(header, images, moments, whole, header.attributes(INCOMPLETE, skipped))


def names_of_moments(signal: str) -> tuple[str, str]:
    """Return the names of a signal's mean and sum of squared deviations among a site's moments."""
    prefix = "" if signal == "gate" else f"{signal}_"
    return f"{prefix}mean", f"{prefix}m2"


@dataclass(frozen=True)
class _Part:
    """Signals of some images: their rows in the table of images, and the values of each block."""

    rows: NDArray[np.int64]
    values: dict[Block, xr.Variable]


def _summary(shards: Path) -> tuple[pd.DataFrame, ClassMoments, list[dict[str, str]]]:
    tables, moments, skipped = [pd.DataFrame({name: [] for name in IMAGE_COLUMNS})], ClassMoments(), []
    for shard in read_shards(shards):
        tables.append(shard.images)
        skipped += shard.skipped
        for name, items in shard.moments.by_class.items():
            moments.add(name, items)
    tables = [table for table in tables if len(table)] or tables
    return pd.concat(tables, ignore_index=True).astype(dict(IMAGE_COLUMNS)), moments, skipped


def _parts(shards: Path, blocks: Sequence[Block]) -> Iterator[_Part]:
    """Yield the signals of bounded numbers of images, one part at least."""
    held: list[Shard] = []
    starts: list[int] = []
    first = 0
    for shard in read_shards(shards):
        held.append(shard)
        starts.append(first)
        first += len(shard.images)
        if sum(len(item.rows) for item in held) >= _ROWS_AT_ONCE:
            yield _part(held, starts, blocks)
            held, starts = [], []
    if held or first == 0:
        yield _part(held, starts, blocks)


def _part(shards: Sequence[Shard], starts: Sequence[int], blocks: Sequence[Block]) -> _Part:
    rows = [shard.rows + start for shard, start in zip(shards, starts, strict=True)]
    columns = np.concatenate([shard.gates for shard in shards]) if shards else np.empty((0, width(blocks)), np.float32)
    values = split(columns, blocks)
    return _Part(
        np.concatenate(rows) if rows else np.empty(0, np.int64),
        {block: xr.Variable(("image", *block.dims), values[block]) for block in blocks},
    )


def _concatenate(parts: Sequence[_Part]) -> _Part:
    return _Part(
        np.concatenate([part.rows for part in parts]),
        {block: xr.Variable.concat([part.values[block] for part in parts], "image") for block in parts[0].values},
    )


def _tree(
    header: Header, images: pd.DataFrame, moments: ClassMoments, part: _Part, attributes: dict[str, Any]
) -> xr.DataTree:
    names = _class_order(header, moments)
    by_class = [moments.by_class[name] for name in names]
    size = len(names), width(header.blocks)
    means = split(np.array([item.mean for item in by_class]).reshape(size), header.blocks)
    m2s = split(np.array([item.m2 for item in by_class]).reshape(size), header.blocks)
    nodes = {
        "/": xr.Dataset(attrs=attributes),
        "/images": xr.Dataset({name: ("image", _image_values(images, name)) for name in IMAGE_COLUMNS}),
        "/gates": xr.Dataset(coords={"image": part.rows}),
        "/moments": xr.Dataset(
            {"count": ("class", np.array([item.count for item in by_class], dtype=np.int64))},
            coords={"class": strings(names)},
        ),
    }
    for site in header.sites:
        blocks = [block for block in header.blocks if block.site == site.name]
        nodes[f"/gates/{site.name}"] = xr.Dataset({block.signal: part.values[block] for block in blocks})
        statistics: dict[str, Any] = {}
        for block in blocks:
            mean, m2 = names_of_moments(block.signal)
            dims = ("class", *block.dims)
            statistics |= {mean: (dims, means[block]), m2: (dims, m2s[block])}
        nodes[f"/moments/{site.name}"] = xr.Dataset(statistics)
    return xr.DataTree.from_dict(nodes)


def _class_order(header: Header, moments: ClassMoments) -> list[str]:
    return [entry["name"] for entry in header.classes if entry["name"] in moments.by_class]


def _image_values(images: pd.DataFrame, name: str) -> NDArray[Any]:
    kind = IMAGE_COLUMNS[name]
    return strings(images[name]) if kind == "str" else images[name].to_numpy(kind)


def _append(path: Path, part: _Part) -> None:
    options: dict[str, Any] = {"mode": "a", "append_dim": "image", "consolidated": False}
    xr.Dataset(coords={"image": part.rows}).to_zarr(path, group="gates", **options)
    by_site: dict[str, dict[str, xr.Variable]] = {}
    for block, values in part.values.items():
        by_site.setdefault(block.site, {})[block.signal] = values
    for site, signals in by_site.items():
        xr.Dataset(signals).to_zarr(path, group=f"gates/{site}", **options)
