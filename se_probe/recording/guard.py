"""Looks at a recording's metadata before anything of it is decoded or allocated: recordings come from strangers too.

Only plain numbers and fixed-width text are read, only through codecs that run no code, and no array may claim more
than what lies on disk for it can hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from se_probe.errors import SeProbeError
from se_probe.recording.header import SCHEMA

_KINDS = "biufU"
_CODECS = (None, "blosc", "zstd", "zlib", "gzip", "lz4", "bz2", "lzma")
# No codec of these makes more than about 33,000 bytes out of one; arrays of one value may have no bytes at all.
_MOST_EXPANSION = 40_000
_UNQUESTIONED_BYTES = 64 * 2**20


def root_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a recording's root.

    Raises:
        SeProbeError: there is no recording at `path`, or a later version of se-probe wrote it.
    """
    try:
        attributes = zarr.open_group(path, mode="r", zarr_format=2, use_consolidated=False).attrs.asdict()
    except (OSError, ValueError):
        attributes = {}
    schema = attributes.get("schema")
    if not isinstance(schema, int) or "status" not in attributes:
        raise SeProbeError(
            f"{path} holds no recording; expected the folder of a run of se-probe excite, or the recording.zarr in it."
        )
    if schema > SCHEMA:
        raise SeProbeError(
            f"{path} has recording schema {schema}; this version of se-probe reads up to {SCHEMA}, use a later one."
        )
    return dict(attributes)


def check_arrays(store: Path) -> None:
    """Look at every array of a recording before one of them is read.

    Raises:
        SeProbeError: an array holds objects, needs a codec that is not known to be safe, or claims too much.
    """
    for name, metadata in _arrays(store):
        problem = _problem(store / name, metadata)
        if problem:
            raise SeProbeError(f"{store / name} is not read: {problem}.")


def _arrays(store: Path) -> Iterator[tuple[str, Any]]:
    """Yield the metadata of each array by the array's path, once as it lies there and once as it is gathered."""
    for path in sorted(store.rglob(".zarray")):
        yield path.parent.relative_to(store).as_posix(), _json(path)
    gathered = _json(store / ".zmetadata") if (store / ".zmetadata").exists() else {}
    for key, metadata in dict(gathered.get("metadata", {})).items():
        if key.endswith("/.zarray"):
            yield key.removesuffix("/.zarray"), metadata


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise SeProbeError(f"{path} is damaged: it is no JSON ({error}).") from error


def _problem(folder: Path, metadata: Any) -> str | None:
    try:
        kind = np.dtype(metadata["dtype"])
        codecs = [metadata["compressor"], *(metadata["filters"] or [])]
        unknown = [codec["id"] for codec in codecs if codec is not None and codec["id"] not in _CODECS]
        values = max(math.prod(metadata["shape"]), math.prod(metadata["chunks"]))
    except (KeyError, TypeError, ValueError) as error:
        return f"its metadata are damaged ({type(error).__name__}: {error})"
    if kind.kind not in _KINDS:
        return f"it holds values of type {metadata['dtype']}; expected numbers or fixed-width text"
    if unknown:
        return f"it needs the codec {unknown[0]!r}; expected one of {', '.join(filter(None, _CODECS))}"
    on_disk = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    if values * kind.itemsize > max(_UNQUESTIONED_BYTES, _MOST_EXPANSION * on_disk):
        return f"it claims {values:,} values, but only {on_disk:,} bytes lie there for them"
    return None
