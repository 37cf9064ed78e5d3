"""The layout of a recording on disk: an xarray DataTree over zarr, made of shards and then of one piece.

    /                    attributes: schema, status, provenance, sites, classes, chosen, skipped
    /images              facts of every image: path, class, predicted class, probability ...
    /gates               coordinate image: rows of /images that have gates
    /gates/SE_2_3        gate (image, channel) or (image, branch, channel); logit, squeeze ... where captured
    /moments             count (class), coordinate class
    /moments/SE_2_3      mean, m2 (class, [branch,] channel), float64; logit_mean, logit_m2 ... where captured

While a run is under way, and after one that was stopped, the status is "incomplete" and `shards/` holds what was
recorded. The status changes to "complete" when everything above is on the disk; only then do the shards go. A merge
that was stopped halfway is made again from the shards.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from se_probe.io.files import atomic_write, remove_leftovers, sync, sync_tree
from se_probe.recording.digest import ArrayDigest
from se_probe.recording.guard import COMPLETE, INCOMPLETE, ROOT_ATTRIBUTES, read_json
from se_probe.recording.header import Header, SignalColumns, attributes_digest, split, width
from se_probe.recording.layout import IMAGE_COLUMNS, ZARR_FORMAT, layout_of, names_of_moments
from se_probe.recording.moments import ClassMoments
from se_probe.recording.shards import strings

GATHERED = ".zmetadata"  # For other programs, which open a recording faster with it; se-probe reads each file.
_METADATA = (".zarray", ".zattrs", ".zgroup")
_NODES = ("images", "gates", "moments")
_CHUNK_ROWS, _CHUNK_LABELS = 256, 2**16


@dataclass(frozen=True)
class Part:
    """Signals of some images: their rows in the table of images, and the values of each block."""

    rows: NDArray[np.int64]
    values: dict[SignalColumns, xr.Variable]


@dataclass(frozen=True)
class Content:
    """The contents of a recording: facts of its images, moments, skipped images, and one or more parts of signals."""

    images: pd.DataFrame
    moments: ClassMoments
    skipped: list[dict[str, str]]
    parts: Iterator[Part]


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


def shard_folder(path: Path) -> Path:
    """Return the folder of a recording's shards."""
    return path / "shards"


def put_attributes(path: Path, attributes: dict[str, Any]) -> None:
    """Replace the attributes of a recording's root in one step.

    Raises:
        OSError: they cannot be written; the former ones stay.
    """
    atomic_write(path / ROOT_ATTRIBUTES, json.dumps(attributes, indent=2).encode())
    sync(path)


def write(path: Path, header: Header, content: Content) -> None:
    """Write the contents of a recording with checksums, and then mark it as complete.

    Files of an earlier attempt are replaced; those of this one are removed if it fails.

    Raises:
        OSError: it cannot be written.
    """
    _discard(path)
    try:
        digests = _write_nodes(path, header, content)
        sync_tree(path)
    except OSError:
        _discard(path)
        raise
    attributes = header.attributes(COMPLETE, content.skipped)
    checksums = {name: digest.hex() for name, digest in digests.items()} | {"attributes": attributes_digest(attributes)}
    put_attributes(path, attributes | {"checksums": checksums})


def tidy(path: Path) -> None:
    """Remove the shards of a complete recording and gather its metadata for quick opening."""
    shutil.rmtree(shard_folder(path), ignore_errors=True)
    _sweep(path)
    content = {"metadata": gathered_metadata(path), "zarr_consolidated_format": 1}
    atomic_write(path / GATHERED, json.dumps(content, indent=1).encode())


def gathered_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a recording's groups and arrays by their files' names, as zarr gathers them in one file.

    Raises:
        SeProbeError: a file is damaged.
    """
    files = sorted(file for name in _METADATA for file in path.rglob(name))
    return {file.relative_to(path).as_posix(): read_json(file) for file in files}


def _discard(path: Path) -> None:
    for node in _NODES:
        shutil.rmtree(path / node, ignore_errors=True)
    _sweep(path)


def _sweep(path: Path) -> None:
    """Remove what a kill has left of files of the root that were being written."""
    for leftover in [*path.glob("*.partial"), *path.glob("*.tmp")]:
        leftover.unlink()


def _write_nodes(path: Path, header: Header, content: Content) -> dict[str, ArrayDigest]:
    """Write images, moments and signals; return the checksum of each array, taken from memory."""
    tree = tree_of(header, content, next(content.parts), header.attributes(INCOMPLETE, content.skipped))
    encoding: dict[str, dict[str, Any]] = {}
    for name, layout in layout_of(header).items():
        node, _, array = name.rpartition("/")
        rows = _CHUNK_ROWS if layout.row and layout.length == "rows" else max(1, min(_CHUNK_LABELS, len(tree[name])))
        encoding.setdefault(f"/{node}", {})[array] = {"chunks": (rows, *layout.row)}
    # Every chunk is on disk, so that a lost one is seen and no fill value takes its place.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return _write_arrays(path, tree, content, encoding)


def _write_arrays(
    path: Path, tree: xr.DataTree, content: Content, encoding: dict[str, dict[str, Any]]
) -> dict[str, ArrayDigest]:
    tree.to_zarr(path, mode="a", zarr_format=ZARR_FORMAT, consolidated=False, encoding=encoding)
    digests: dict[str, ArrayDigest] = {}
    for node in tree.subtree:
        for name, variable in node.to_dataset(inherit=False).variables.items():
            digests.setdefault(f"{node.path}/{name}".strip("/"), ArrayDigest()).update(variable.values)
    for part in content.parts:
        _append(path, part)
        digests["gates/image"].update(part.rows)
        for block, values in part.values.items():
            digests[f"gates/{block.site}/{block.signal}"].update(values.values)
    return digests


def tree_of(header: Header, content: Content, part: Part, attributes: dict[str, Any]) -> xr.DataTree:
    """Return a recording as the nodes that this module describes; `part` takes the place of the content's parts."""
    images, moments = content.images, content.moments
    names = _class_order(header, moments)
    by_class = [moments.by_class[name] for name in names]
    size = len(names), width(header.signals)
    means = split(np.array([item.mean for item in by_class]).reshape(size), header.signals)
    m2s = split(np.array([item.m2 for item in by_class]).reshape(size), header.signals)
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
        blocks = [block for block in header.signals if block.site == site.name]
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


def _append(path: Path, part: Part) -> None:
    options: dict[str, Any] = {"mode": "a", "append_dim": "image", "consolidated": False}
    xr.Dataset(coords={"image": part.rows}).to_zarr(path, group="gates", **options)
    by_site: dict[str, dict[str, xr.Variable]] = {}
    for block, values in part.values.items():
        by_site.setdefault(block.site, {})[block.signal] = values
    for site, signals in by_site.items():
        xr.Dataset(signals).to_zarr(path, group=f"gates/{site}", **options)
