"""Files that appear whole or not at all."""

import gzip
from pathlib import Path

import pandas as pd

from se_probe.errors import SeProbeError
from se_probe.recording.files import put_whole


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` through a temporary file beside it, making its folder where needed.

    Raises:
        SeProbeError: the folder or the file cannot be written.
    """
    try:
        put_whole(path, content)
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
