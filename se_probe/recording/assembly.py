"""Assemble the shards of a run into one recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from se_probe.errors import SeProbeError
from se_probe.recording.guard import INCOMPLETE, root_attributes
from se_probe.recording.header import Header, SignalColumns, header_of, split, width
from se_probe.recording.layout import IMAGE_COLUMNS
from se_probe.recording.moments import ClassMoments
from se_probe.recording.shards import Shard, read_shards
from se_probe.recording.store import Content, Part, shard_folder, tidy, tree_of, write

_ROWS_AT_ONCE = 4096


def complete(path: Path) -> None:
    """Put a recording's shards together, mark it as complete, and remove them.

    Raises:
        SeProbeError: the shards do not cover the selection, or none of a chosen class's images was recorded.
        OSError: it cannot be written; the shards stay.
    """
    shards = shard_folder(path)
    header = header_of(root_attributes(path))
    summary = _summary(shards, header)
    if summary.covered != header.selected:
        raise SeProbeError(
            f"the shards of {path} hold {summary.covered} of {header.selected} images; continue the run with --resume."
        )
    _require_every_class(header, summary)
    write(path, header, Content(summary.images, summary.moments, summary.skipped, _parts(shards, header)))
    tidy(path)


def read_incomplete(path: Path, header: Header) -> xr.DataTree:
    """Return what an incomplete recording holds, in memory.

    Raises:
        DamagedShardError: a shard is not as it was written.
        SeProbeError: no image was recorded yet.
    """
    shards = shard_folder(path)
    summary = _summary(shards, header)
    if summary.images.empty:
        raise SeProbeError(f"{path} holds no image yet: its run was stopped before; continue it with --resume.")
    whole = _concatenate(list(_parts(shards, header)))
    content = Content(summary.images, summary.moments, summary.skipped, iter(()))
    return tree_of(header, content, whole, header.attributes(INCOMPLETE, summary.skipped))


@dataclass
class _Summary:
    """Contents of shards without signals: images, moments merged in the selection's order, places covered."""

    images: pd.DataFrame
    moments: ClassMoments
    skipped: list[dict[str, str]]
    covered: int


def _require_every_class(header: Header, summary: _Summary) -> None:
    for name in header.chosen:
        if name not in summary.moments.by_class:
            reason = next((item["reason"] for item in summary.skipped if item["class"] == name), "there are none")
            raise SeProbeError(
                f"none of the images of {name} could be recorded ({reason}); repair them or choose another class."
            )


def _summary(shards: Path, header: Header) -> _Summary:
    tables, moments, skipped = [pd.DataFrame({name: [] for name in IMAGE_COLUMNS})], ClassMoments(), []
    covered = 0
    for shard in read_shards(shards, header):
        covered += len(shard.covered)
        tables.append(shard.images)
        skipped += [{key: item[key] for key in ("path", "class", "reason")} for item in shard.skipped]
        for name, items in shard.moments.by_class.items():
            moments.add(name, items)
    tables = [table for table in tables if len(table)] or tables
    images = pd.concat(tables, ignore_index=True).astype(dict(IMAGE_COLUMNS))
    return _Summary(images, moments, skipped, covered)


def _parts(shards: Path, header: Header) -> Iterator[Part]:
    """Yield the signals of bounded numbers of images, one part at least."""
    held: list[Shard] = []
    starts: list[int] = []
    first = 0
    for shard in read_shards(shards, header):
        held.append(shard)
        starts.append(first)
        first += len(shard.images)
        if sum(len(item.rows) for item in held) >= _ROWS_AT_ONCE:
            yield _part(held, starts, header.signals)
            held, starts = [], []
    if held or first == 0:
        yield _part(held, starts, header.signals)


def _part(shards: Sequence[Shard], starts: Sequence[int], blocks: Sequence[SignalColumns]) -> Part:
    rows = [shard.rows + start for shard, start in zip(shards, starts, strict=True)]
    columns = np.concatenate([shard.gates for shard in shards]) if shards else np.empty((0, width(blocks)), np.float32)
    values = split(columns, blocks)
    return Part(
        np.concatenate(rows) if rows else np.empty(0, np.int64),
        {block: xr.Variable(("image", *block.dims), values[block]) for block in blocks},
    )


def _concatenate(parts: Sequence[Part]) -> Part:
    return Part(
        np.concatenate([part.rows for part in parts]),
        {block: xr.Variable.concat([part.values[block] for part in parts], "image") for block in parts[0].values},
    )
