"""Files that appear whole or not at all, and stay when the power goes."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from se_probe.errors import SeProbeError


def atomic_write(path: Path, content: bytes) -> None:
    """Put `content` at `path` through a temporary file beside it, making its folder where needed.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Put `content` at `path` through a temporary file beside it, making its folder where needed.

    Raises:
        SeProbeError: the folder or the file cannot be written.
    """
    try:
        atomic_write(path, content)
    except OSError as error:
        raise SeProbeError(f"cannot write {path}: {error.strerror}; choose another folder with --out") from error


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV that reads back exactly, compressed where `path` ends in `.gz`.

    Floats have as many digits as a float64 needs, missing values are empty, and the bytes depend on the table
    alone.

    Raises:
        SeProbeError: the file cannot be written.
    """
    content = csv_bytes(table)
    write_file(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def csv_bytes(table: pd.DataFrame) -> bytes:
    """The bytes of `write_csv` before compression."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk itself."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until everything below a folder is on the disk itself."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync(Path(place) / name)
        sync(Path(place))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line why a recording cannot be written, and that what was recorded is kept.

    Raises:
        SeProbeError: the disk is full, the folder is read-only, or the like.
    """
    try:
        yield
    except OSError as error:
        raise SeProbeError(
            f"cannot write {path}: {error.strerror or error}; what was recorded before is kept. Make room or permit "
            "writing and continue with --resume, or choose another folder with --out."
        ) from error
