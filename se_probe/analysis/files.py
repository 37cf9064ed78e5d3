"""Files that appear whole or not at all."""

import gzip
import os
from pathlib import Path

import pandas as pd

from se_probe.errors import SeProbeError


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` through a temporary file beside it, making its folder where needed.

    Raises:
        SeProbeError: the folder or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_and_flush(temporary, content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
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
    write_whole(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def csv_bytes(table: pd.DataFrame) -> bytes:
    """The bytes of `write_csv` before compression."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def _write_and_flush(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
