"""The arrays of a recording: the expected form of each, checked before values are read, and checksums.

An array's values depend on its metadata as much as on its bytes. Metadata are therefore compared with what the
recording's attributes imply, and anything that could change values (a scale factor, a filter, another order of axes)
is refused. Only plain numbers and fixed-width text are read, and only through codecs that run no code.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from se_probe.errors import SeProbeError
from se_probe.recording.guard import read_json
from se_probe.recording.header import Header

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
_TEXT, _INTEGER, _DOUBLE, _FLOATS = r"<U[1-9]\d*", "<i8", "<f8", "<f[48]"
_OF_COLUMN = {"str": _TEXT, "int64": _INTEGER, "float64": _DOUBLE}
_CODECS = ("blosc", "zstd", "zlib", "gzip", "lz4", "bz2", "lzma")
_FILL_VALUES = (None, "NaN", 0, "")
_CHUNK = re.compile(r"\d+(\.\d+)*")
# These codecs expand a byte to at most about 33,000; constant arrays may have no bytes at all.
_MOST_EXPANSION = 40_000
_UNQUESTIONED_BYTES = 64 * 2**20
# The first schema that writes all chunks of an array, in whole rows.
_WHOLE_ROWS = 3


@dataclass(frozen=True)
class ArrayLayout:
    """The expected form of an array.

    Attributes:
        dims: names of its axes.
        row: its shape without the first axis.
        dtype: pattern of its dtype.
        length: name of what the first axis counts; arrays with the same name have the same length.
    """

    dims: tuple[str, ...]
    row: tuple[int, ...]
    dtype: str
    length: str


def names_of_moments(signal: str) -> tuple[str, str]:
    """Return the names of a signal's mean and sum of squared deviations among a site's moments."""
    prefix = "" if signal == "gate" else f"{signal}_"
    return f"{prefix}mean", f"{prefix}m2"


def layout_of(header: Header) -> dict[str, ArrayLayout]:
    """Return the expected form of each array of a complete recording, by its path in the recording."""
    arrays = {
        f"images/{name}": ArrayLayout(("image",), (), _OF_COLUMN[kind], "images")
        for name, kind in IMAGE_COLUMNS.items()
    }
    arrays["gates/image"] = ArrayLayout(("image",), (), _INTEGER, "rows")
    arrays["moments/class"] = ArrayLayout(("class",), (), _TEXT, "classes")
    arrays["moments/count"] = ArrayLayout(("class",), (), _INTEGER, "classes")
    for block in header.signals:
        layout = ArrayLayout(("image", *block.dims), block.shape, _FLOATS, "rows")
        arrays[f"gates/{block.site}/{block.signal}"] = layout
        for name in names_of_moments(block.signal):
            layout = ArrayLayout(("class", *block.dims), block.shape, _DOUBLE, "classes")
            arrays[f"moments/{block.site}/{name}"] = layout
    return arrays


def check_arrays(store: Path, header: Header) -> None:
    """Check every array of a complete recording before one of them is read."""
    problem = next(array_problems(store, header), None)
    if problem is not None:
        raise SeProbeError(f"{store} is damaged: {problem}. Copy the recording again, or record it again.")


def array_problems(store: Path, header: Header) -> Iterator[str]:
    """Yield the problems of a complete recording's arrays, without reading their values."""
    expected = layout_of(header)
    found = {path.parent.relative_to(store).as_posix() for path in store.rglob(".zarray")}
    for name in expected:
        if name not in found:
            yield f"{name} is missing"
    for name in sorted(found - expected.keys()):
        yield f"{name} does not belong to the recording"
    yield from _group_problems(store, expected)
    lengths: dict[str, tuple[int, str]] = {}
    for name, layout in expected.items():
        if name in found:
            try:
                length = check_array(store / name, layout, whole=header.schema >= _WHOLE_ROWS)
                first, owner = lengths.setdefault(layout.length, (length, name))
                if first != length:
                    raise ValueError(f"it has the length {length}; expected {first}, as {owner}")
            except (KeyError, TypeError, ValueError, OverflowError, OSError, SeProbeError) as error:
                what = f"its metadata have no {error}" if isinstance(error, KeyError) else error
                yield f"{name} is not read: {what}"


def _group_problems(store: Path, arrays: Iterable[str]) -> Iterator[str]:
    groups = {parent.as_posix() for name in arrays for parent in PurePosixPath(name).parents}
    for name in sorted(groups):
        folder = store / name
        try:
            if read_json(folder / ".zgroup") != {"zarr_format": ZARR_FORMAT}:
                yield f"{folder / '.zgroup'} is not what was written"
            if name != "." and (attributes := _attributes(folder)):
                yield f"the group {name} has the attributes {_short(attributes)}; expected none"
        except SeProbeError as error:
            yield str(error)


def _attributes(folder: Path) -> Any:
    path = folder / ".zattrs"
    return read_json(path) if path.exists() else {}


def check_array(folder: Path, layout: ArrayLayout, *, whole: bool = True) -> int:
    """Return the length of an array; raise ValueError, TypeError or KeyError for wrong metadata or missing chunks.

    With `whole`, chunks must be whole rows.
    """
    facts = read_json(folder / ".zarray")
    shape, chunks = (_sizes(facts[name]) for name in ("shape", "chunks"))
    compressor, separator = facts["compressor"], facts.get("dimension_separator", ".")
    codec = None if compressor is None else compressor["id"]
    if not re.fullmatch(layout.dtype, str(facts["dtype"])):
        raise ValueError(f"it holds values of type {_short(facts['dtype'])}; expected {layout.dtype}")
    if codec is not None and codec not in _CODECS:
        raise ValueError(f"it needs the codec {_short(codec)}; expected one of {', '.join(_CODECS)}")
    if facts["filters"] or facts["order"] != "C" or separator != "." or facts["fill_value"] not in _FILL_VALUES:
        kept = {name: facts.get(name) for name in ("filters", "order", "dimension_separator", "fill_value")}
        raise ValueError(f"its metadata say {_short(kept)}; expected no filters, order C and no fill value")
    if len(shape) != 1 + len(layout.row) or shape[1:] != layout.row or len(chunks) != len(shape) or 0 in chunks:
        raise ValueError(f"it has the shape {shape} in chunks of {chunks}; expected (any, *{layout.row})")
    attributes = _attributes(folder)
    if attributes != {"_ARRAY_DIMENSIONS": list(layout.dims)}:
        raise ValueError(
            f"it has the attributes {_short(attributes)}; expected the axes {', '.join(layout.dims)} alone"
        )
    if whole and chunks[1:] != shape[1:]:
        raise ValueError(f"it has chunks of {chunks} in the shape {shape}; expected whole rows")
    _check_size(folder, shape, chunks, np.dtype(facts["dtype"]).itemsize)
    if whole or folder.parent.parent.name in ("gates", "moments"):
        _check_chunks(folder, shape, chunks)
    return shape[0]


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(value) is not int or value < 0 for value in values):
        raise ValueError(f"its metadata are damaged: {_short(values)} is not a list of sizes")
    return tuple(values)


def _check_size(folder: Path, shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int) -> None:
    values = max(math.prod(shape), math.prod(chunks))
    on_disk = sum(path.stat().st_size for path in folder.iterdir())
    if values * itemsize > max(_UNQUESTIONED_BYTES, _MOST_EXPANSION * on_disk):
        raise ValueError(f"it claims {values:,} values, but only {on_disk:,} bytes are there for them")


def _check_chunks(folder: Path, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    """Raise ValueError where a chunk is missing: zarr would silently return a fill value."""
    expected = math.prod(math.ceil(length / chunk) for length, chunk in zip(shape, chunks, strict=True))
    found = sum(1 for path in folder.iterdir() if _CHUNK.fullmatch(path.name))
    if found < expected:
        raise ValueError(f"{expected - found} of its {expected} chunks are missing")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def strings(values: Iterable[Any]) -> NDArray[np.str_]:
    """Return names as numpy's fixed-width text, which zarr stores without pickling."""
    return np.array([str(value) for value in values], dtype=np.str_)


class ArrayDigest:
    """Checksum of an array that arrives in parts along its first axis, independent of how it is split.

    It is the SHA-256, in hexadecimal, of the values in row-major order and little-endian bytes, followed by the text
    `<dtype> <shape>`, such as `<f4 (200, 256)`.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0
        self._kind = ""
        self._rest: tuple[int, ...] = ()

    def update(self, part: NDArray[Any]) -> None:
        """Add the next rows."""
        little = part.dtype.newbyteorder("<")
        self._hash.update(np.ascontiguousarray(part, dtype=little).tobytes())
        self._rows += part.shape[0]
        self._kind, self._rest = little.str, part.shape[1:]

    def hex(self) -> str:
        """Return the checksum of the rows so far."""
        whole = self._hash.copy()
        whole.update(f"{self._kind} {(self._rows, *self._rest)}".encode())
        return whole.hexdigest()


def array_digest(values: NDArray[Any]) -> str:
    """Return the checksum of an array."""
    digest = ArrayDigest()
    digest.update(values)
    return digest.hex()
