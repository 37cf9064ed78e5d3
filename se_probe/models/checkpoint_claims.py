"""Refuse PyTorch files whose reading would take far more memory than they have bytes, before anything is read."""

from __future__ import annotations

import pickletools
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from se_probe.errors import SeProbeError

_REMEDY = "save its state_dict() or a safetensors file and give that"
_DAMAGED: tuple[type[Exception], ...] = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, IndexError, OverflowError, MemoryError, RuntimeError),
)
_LEGACY_PICKLES = 4  # magic number, protocol, system, content; the tensors' bytes follow


def check_expansion(path: Path) -> None:
    """Check what a file claims against what it holds.

    PyTorch itself compares the size of every tensor with the bytes that are there for it. But it expands compressed
    records, which `torch.save` never writes, makes byte arrays of any length that a pickle names, and unpacks the
    tars of its first versions into a temporary folder. A file that cannot be taken apart here passes: it is damaged,
    and PyTorch says so.

    Raises:
        SeProbeError: the file is one of these.
    """
    if zipfile.is_zipfile(path):
        with suppress(*_DAMAGED), zipfile.ZipFile(path) as archive:
            _check_zip(path, archive)
    elif tarfile.is_tarfile(path):
        raise SeProbeError(f"{path.name} is a tar, as PyTorch wrote before version 0.2; {_REMEDY}")
    else:
        with path.open("rb") as stream:
            for _ in range(_LEGACY_PICKLES):
                _check_pickle(path, stream)


def _check_zip(path: Path, archive: zipfile.ZipFile) -> None:
    claimed, size = sum(record.file_size for record in archive.infolist()), path.stat().st_size
    if claimed > size:
        raise SeProbeError(
            f"{path.name} would unpack to {claimed} bytes and has {size}; expected a checkpoint as torch.save writes "
            "it, without compression"
        )
    for name in archive.namelist():
        if name.endswith(".pkl"):
            with archive.open(name) as stream:
                _check_pickle(path, stream)


def _check_pickle(path: Path, stream: IO[bytes]) -> None:
    if any(name.rpartition(" ")[2] == "bytearray" for name in _globals(stream)):
        raise SeProbeError(
            f"{path.name} makes byte arrays, which no tensor needs and which could fill the memory; {_REMEDY}"
        )


def _globals(stream: IO[bytes]) -> Iterator[str]:
    """Yield what a pickle refers to, as `module name`; nothing is called."""
    # A damaged pickle ends the search: its reader will get no further either.
    with suppress(*_DAMAGED):
        for code, argument, _ in pickletools.genops(stream):
            if code.name == "GLOBAL":
                yield str(argument)
