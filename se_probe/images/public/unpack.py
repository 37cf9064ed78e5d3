"""Unpack a tar or zip of plain files into a folder, and nothing anywhere else."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from se_probe.errors import SeProbeError

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class _Member:
    """A file in an archive."""

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def unpack(archive: Path, folder: Path, most: int, progress: Callable[[int], None]) -> None:
    """Write the files of a tar (compressed or not) or zip below a folder that is not there yet.

    Only regular files are written, so that no link can lead out of the folder.

    Args:
        archive: the archive; what it is, its content says and not its name.
        folder: is made.
        most: bytes that all files together may have.
        progress: called with the number of bytes written so far.

    Raises:
        SeProbeError: the archive cannot be read, or holds a link, a device, a path that leads out of the folder, or
            more bytes than are allowed.
        OSError: the folder cannot be written.
    """
    folder.mkdir()
    written = 0
    try:
        for member in _members(archive):
            written += member.size
            if written > most:
                raise SeProbeError(f"{archive.name} holds more than {most} bytes; nothing of it was kept")
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, target.open("xb") as sink:
                shutil.copyfileobj(source, sink)
            progress(written)
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SeProbeError(f"{archive.name} cannot be unpacked ({reason}); nothing of it was kept") from error


def _members(archive: Path) -> Iterator[_Member]:
    return _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as tar:
        for item in tar:
            _require_plain(archive, item.name, plain=item.isreg() or item.isdir())
            if item.isreg():
                yield _Member(item.name, item.size, lambda item=item: _opened(tar, item))  # type: ignore[misc]


def _opened(tar: tarfile.TarFile, item: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(item)
    if stream is None:
        raise tarfile.ReadError(f"{item.name} has no content")
    return stream


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as zipped:
        for item in zipped.infolist():
            kind = stat.S_IFMT(item.external_attr >> 16)
            _require_plain(archive, item.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if not item.is_dir():
                yield _Member(item.filename, item.file_size, lambda item=item: zipped.open(item))  # type: ignore[misc]


def _require_plain(archive: Path, name: str, *, plain: bool) -> None:
    path = PurePosixPath(name)
    if not plain or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        what = "leads out of its folder" if plain else "is a link or a device"
        raise SeProbeError(f"{archive.name} holds {name!r}, which {what}; nothing of it was kept")
