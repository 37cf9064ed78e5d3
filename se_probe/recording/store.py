"""The layout of a recording on disk: an xarray DataTree over zarr, which is assembled from shards.

    /                    attributes: schema, status, provenance, sites, classes, chosen, skipped
    /images              facts of every image: path, class, predicted class, probability ...
    /gates               coordinate image: rows of /images that have gates
    /gates/SE_2_3        gate (image, channel) or (image, branch, channel); logit, squeeze ... where captured
    /moments             count (class), coordinate class
    /moments/SE_2_3      mean, m2 (class, [branch,] channel), float64; logit_mean, logit_m2 ... where captured

During a run, and after one that was stopped, the status is "incomplete" and `shards/` holds what was recorded. The
status changes to "complete" when everything above is on disk; only then are the shards removed. An interrupted assembly
starts again from the shards.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.io.files import atomic_write, remove_leftovers, sync, sync_tree
from se_probe.recording.guard import COMPLETE, INCOMPLETE, ROOT_ATTRIBUTES, read_json, root_attributes
from se_probe.recording.header import Header, attributes_digest, header_of, split, width
from se_probe.recording.layout import IMAGE_COLUMNS, ZARR_FORMAT, ArrayDigest, layout_of, names_of_moments, strings
from se_probe.recording.moments import ClassMoments
from se_probe.recording.shards import read_shards, shard_folder

GATHERED = ".zmetadata"  # Consolidated metadata, for other programs; se-probe reads each file.
_METADATA = (".zarray", ".zattrs", ".zgroup")
_NODES = ("images", "gates", "moments")
_CHUNK_ROWS, _CHUNK_LABELS = 256, 2**16
# Rows of some images, and their signals, `(row, column)`.
Part = tuple[NDArray[np.int64], NDArray[np.floating]]


@dataclass(frozen=True)
class Content:
    """The contents of a recording.

    Attributes:
        images: facts of its images, the columns of `IMAGE_COLUMNS`.
        moments: those of each class, all signals side by side.
        skipped: images that were left out.
        parts: the rows in `images` that have gates and their signals, in parts.
    """

    images: pd.DataFrame
    moments: ClassMoments
    skipped: list[dict[str, str]]
    parts: Iterable[Part]


def create(path: Path, header: Header) -> None:
    """Create a recording without images, in one step, at a path that does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    temporary = path.with_name(f".{path.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    root = zarr.open_group(temporary, mode="w", zarr_format=ZARR_FORMAT, attributes=header.attributes(INCOMPLETE))
    root.create_group(shard_folder(temporary).name)
    sync_tree(temporary)
    temporary.rename(path)
    sync(path.parent)


def complete(path: Path) -> None:
    """Assemble a recording from its shards, mark it as complete, and remove them; on an error the shards stay."""
    header = header_of(root_attributes(path))
    content = _content_of_shards(path, header)
    covered = len(content.images) + len(content.skipped)
    if covered != header.selected:
        raise SeProbeError(
            f"the shards of {path} hold {covered} of {header.selected} images; continue the run with --resume."
        )
    for name in header.chosen:
        if name not in content.moments.by_class:
            reason = next((item["reason"] for item in content.skipped if item["class"] == name), "there are none")
            raise SeProbeError(
                f"none of the images of {name} could be recorded ({reason}); repair them or choose another class."
            )
    write(path, header, content)
    tidy(path)


def read_incomplete(path: Path, header: Header) -> xr.DataTree:
    """Return what an incomplete recording holds, in memory."""
    content = _content_of_shards(path, header)
    if content.images.empty:
        raise SeProbeError(f"{path} holds no image yet: its run was stopped before; continue it with --resume.")
    rows, columns = zip(*content.parts, strict=True)
    whole = np.concatenate(rows), np.concatenate(columns)
    return _tree_of(header, content, whole, header.attributes(INCOMPLETE, content.skipped))


def _content_of_shards(path: Path, header: Header) -> Content:
    tables, moments, skipped = [pd.DataFrame(columns=list(IMAGE_COLUMNS))], ClassMoments(), []
    for shard in read_shards(path, header):
        tables.append(shard.images)
        skipped += [{key: item[key] for key in ("path", "class", "reason")} for item in shard.skipped]
        for name, items in shard.moments.by_class.items():
            moments.add(name, items)
    tables = [table for table in tables if len(table)] or tables
    images = pd.concat(tables, ignore_index=True)[list(IMAGE_COLUMNS)].astype(dict(IMAGE_COLUMNS))
    return Content(images, moments, skipped, _parts_of_shards(path, header))


def _parts_of_shards(path: Path, header: Header) -> Iterator[Part]:
    first = 0
    for shard in read_shards(path, header):
        yield shard.rows + first, shard.gates
        first += len(shard.images)


def put_attributes(path: Path, attributes: dict[str, Any]) -> None:
    """Replace the attributes of a recording's root in one step; on OSError the former ones stay."""
    atomic_write(path / ROOT_ATTRIBUTES, json.dumps(attributes, indent=2).encode())
    sync(path)


def write(path: Path, header: Header, content: Content) -> None:
    """Write the contents of a recording with checksums, and then mark it as complete.

    Files of an earlier attempt are replaced; those of this one are removed on OSError.
    """
    _discard(path)
    try:
        # All chunks are written, so that a lost one is noticed and not read as a fill value.
        with zarr.config.set({"array.write_empty_chunks": True}):
            digests = _write_arrays(path, header, content)
        sync_tree(path)
    except OSError:
        _discard(path)
        raise
    attributes = header.attributes(COMPLETE, content.skipped)
    checksums = {name: digest.hex() for name, digest in digests.items()} | {"attributes": attributes_digest(attributes)}
    put_attributes(path, attributes | {"checksums": checksums})


def tidy(path: Path) -> None:
    """Remove the shards of a complete recording and consolidate its metadata for other programs."""
    shutil.rmtree(shard_folder(path), ignore_errors=True)
    _sweep(path)
    content = {"metadata": gathered_metadata(path), "zarr_consolidated_format": 1}
    atomic_write(path / GATHERED, json.dumps(content, indent=1).encode())


def gathered_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of all groups and arrays by file name, as zarr's consolidated metadata holds them."""
    files = sorted(file for name in _METADATA for file in path.rglob(name))
    return {file.relative_to(path).as_posix(): read_json(file) for file in files}


def _discard(path: Path) -> None:
    for node in _NODES:
        shutil.rmtree(path / node, ignore_errors=True)
    _sweep(path)


def _sweep(path: Path) -> None:
    """Remove temporary files in the root that a killed process has left."""
    for leftover in [*path.glob("*.partial"), *path.glob("*.tmp")]:
        leftover.unlink()


def _write_arrays(path: Path, header: Header, content: Content) -> dict[str, ArrayDigest]:
    """Write images, moments and signals; return the checksum of each array, taken from memory."""
    parts = (part for part in content.parts if len(part[0]))
    nothing = np.empty(0, dtype=np.int64), np.empty((0, width(header.signals)), dtype=np.float32)
    tree = _tree_of(header, content, next(parts, nothing), header.attributes(INCOMPLETE, content.skipped))
    encoding: dict[str, dict[str, Any]] = defaultdict(dict)
    digests: dict[str, ArrayDigest] = {}
    for name, layout in layout_of(header).items():
        values: Any = tree[name].values
        group, _, array = name.rpartition("/")
        rows = _CHUNK_ROWS if layout.row and layout.length == "rows" else max(1, min(_CHUNK_LABELS, len(values)))
        encoding[f"/{group}"][array] = {"chunks": (rows, *layout.row)}
        digests[name] = ArrayDigest()
        digests[name].update(values)
    tree.to_zarr(path, mode="a", zarr_format=ZARR_FORMAT, consolidated=False, encoding=encoding)
    for part in parts:
        for name, values in _arrays_of(header, part).items():
            zarr.open_array(path / name, mode="r+", zarr_format=ZARR_FORMAT).append(values)
            digests[name].update(values)
    return digests


def _arrays_of(header: Header, part: Part) -> dict[str, NDArray[Any]]:
    rows, columns = part
    signals = split(columns, header.signals)
    return {"gates/image": rows} | {f"gates/{block.site}/{block.signal}": signals[block] for block in header.signals}


def _tree_of(header: Header, content: Content, part: Part, attributes: dict[str, Any]) -> xr.DataTree:
    """Return a recording as the nodes that this module describes, with the signals of one part."""
    names = [entry["name"] for entry in header.classes if entry["name"] in content.moments.by_class]
    moments = [content.moments.by_class[name] for name in names]
    arrays = _arrays_of(header, part)
    for name, kind in IMAGE_COLUMNS.items():
        column = content.images[name]
        arrays[f"images/{name}"] = strings(column) if kind == "str" else column.to_numpy(kind)
    arrays["moments/class"] = strings(names)
    arrays["moments/count"] = np.array([item.count for item in moments], dtype=np.int64)
    for index, statistic in enumerate(([item.mean for item in moments], [item.m2 for item in moments])):
        columns = np.array(statistic).reshape(len(names), width(header.signals))
        for block, values in split(columns, header.signals).items():
            arrays[f"moments/{block.site}/{names_of_moments(block.signal)[index]}"] = values
    nodes: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, layout in layout_of(header).items():
        group, _, array = name.rpartition("/")
        nodes[group][array] = layout.dims, arrays[name]
    groups = {group: xr.Dataset(variables) for group, variables in nodes.items()}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **groups})
