"""Fetch a public set of images into the cache: download, check, unpack, and rename when complete."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock, Timeout

from se_probe.errors import SeProbeError, message_of
from se_probe.images.public.sets import RECEIPT, PublicSet, downloads, home, public_set, readable_size, state_of
from se_probe.io.log import tell
from se_probe.io.progress import byte_bar

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def fetch(data: str, *, url: str | None = None, progress: bool = True) -> Path:
    """Fetch a public set of labelled images, unless it is cached.

    The next call resumes an interrupted download.

    Args:
        data: `imagenetv2`, `imagenetv2:threshold-0.7`, `imagenetv2:top-images` or `tiny-imagenet`.
        url: another address of the same file, which must have the same checksum.
        progress: show a bar.

    Returns:
        The folder of labelled images; `open_images` and `excite` find it by the name `data`.

    Raises:
        SeProbeError: there is no such set, it cannot be obtained, has another checksum, or does not fit on the disk.
    """
    public, part = public_set(data)
    folder = home(public)
    if folder.is_dir():
        tell("data", f"{public.name} is there: {folder / part}")
        return folder / part
    try:
        downloads().mkdir(parents=True, exist_ok=True)
        with FileLock(downloads() / f"{public.folder_name}.lock", timeout=0):
            if not folder.is_dir():
                _fetch(public, url or public.url, progress)
    except Timeout as error:
        raise SeProbeError(f"{public.name} is being fetched by another process; wait for it") from error
    except OSError as error:
        raise SeProbeError(
            f"{public.name} cannot be kept in {folder.parent} ({error.strerror or error}); make room or make it "
            "writable, or name another folder with SE_PROBE_CACHE"
        ) from error
    tell("data", f"{public.name} is fetched: {folder / part}")
    return folder / part


def _fetch(public: PublicSet, url: str, shown: bool) -> None:
    from se_probe.images.public.download import download

    _require_space(public)
    archive = downloads() / public.archive_name
    tell("fetch", f"{public.name}: {public.holds}; {readable_size(public.size)} from {url}")
    tell("licence", public.licence)
    with byte_bar("downloading", public.size, shown=shown) as progress:
        download(url, archive, public.size, public.sha256, progress)
    unpacked = downloads() / public.folder_name
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        with byte_bar("unpacking", public.size, shown=shown) as progress:
            unpack(archive, unpacked, public.unpacked, progress)
        for part in public.parts.values():
            if not (unpacked / part).is_dir():
                raise SeProbeError(f"{public.archive_name} holds no folder {part}; nothing of it was kept")
        _write_receipt(public, url, unpacked)
        os.replace(unpacked, home(public))
    except SeProbeError:
        archive.unlink()
        raise
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    archive.unlink()


def _require_space(public: PublicSet) -> None:
    needed = public.size - state_of(public).begun + public.unpacked
    free = shutil.disk_usage(downloads()).free
    if free < needed:
        raise SeProbeError(
            f"{public.name} needs {readable_size(needed)} in {downloads()} and {readable_size(free)} are free there; "
            "make room, or name a folder on another disk with SE_PROBE_CACHE"
        )


def _write_receipt(public: PublicSet, url: str, unpacked: Path) -> None:
    facts = {
        "name": public.name,
        "url": url,
        "bytes": public.size,
        "sha256": public.sha256,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (unpacked / RECEIPT).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def unpack(archive: Path, folder: Path, most: int, progress: Callable[[int], None]) -> None:
    """Extract a tar (compressed or not) or zip into a new folder; its kind follows from its content.

    Only regular files are written, so that no link can lead out of the folder, and at most `most` bytes in all.
    `progress` is called with the number of bytes written so far.
    """
    folder.mkdir()
    written = 0
    try:
        for name, size, stream in _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive):
            written += size
            if written > most:
                raise SeProbeError(f"{archive.name} holds more than {most} bytes; nothing of it was kept")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with stream as source, target.open("xb") as sink:
                shutil.copyfileobj(source, sink)
            progress(written)
    except _BROKEN as error:
        raise SeProbeError(
            f"{archive.name} cannot be unpacked ({message_of(error)}); nothing of it was kept"
        ) from error


def _tar_members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(archive, "r:*") as tar:
        for item in tar:
            _require_plain(archive, item.name, plain=item.isreg() or item.isdir())
            if item.isreg() and (stream := tar.extractfile(item)) is not None:
                yield item.name, item.size, stream


def _zip_members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as zipped:
        for item in zipped.infolist():
            kind = stat.S_IFMT(item.external_attr >> 16)
            _require_plain(archive, item.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if not item.is_dir():
                with zipped.open(item) as stream:
                    yield item.filename, item.file_size, stream


def _require_plain(archive: Path, name: str, *, plain: bool) -> None:
    path = PurePosixPath(name)
    if not plain or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        what = "leads out of its folder" if plain else "is a link or a device"
        raise SeProbeError(f"{archive.name} holds {name!r}, which {what}; nothing of it was kept")
