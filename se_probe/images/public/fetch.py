"""Fetch a public set of images into the cache: download, check, unpack, and only then give it its name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from se_probe.errors import SeProbeError
from se_probe.images.public.place import RECEIPT, downloads, home, readable_size, state_of
from se_probe.images.public.public_sets import PublicSet, public_set
from se_probe.images.public.unpack import unpack
from se_probe.io.progress import byte_bar


def fetch(data: str, *, url: str | None = None, say: Callable[[str], None] = print, show_progress: bool = True) -> Path:
    """Fetch a public set of labelled images, unless it is there already.

    A call that was stopped, or whose connection broke, is gone on with by the next one.

    Args:
        data: `imagenetv2`, `imagenetv2:threshold-0.7`, `imagenetv2:top-images` or `tiny-imagenet`.
        url: another address of the same file; its checksum is compared all the same.
        say: is given a line about what is done.
        show_progress: show a bar.

    Returns:
        The folder of labelled images, which `data` then stands for in `open_images` and `excite`.

    Raises:
        SeProbeError: there is no such set, it cannot be had, is not what was expected, or there is no room for it.
    """
    public, part = public_set(data)
    folder = home(public)
    if folder.is_dir():
        say(f"{public.name} is there: {folder / part}")
        return folder / part
    try:
        downloads().mkdir(parents=True, exist_ok=True)
        with FileLock(downloads() / f"{public.folder_name}.lock", timeout=0):
            if not folder.is_dir():
                _fetch(public, url or public.url, say, show_progress)
    except Timeout as error:
        raise SeProbeError(f"{public.name} is being fetched by another process; wait for it") from error
    except OSError as error:
        raise SeProbeError(
            f"{public.name} cannot be kept in {folder.parent} ({error.strerror or error}); make room or make it "
            "writable, or name another folder with SE_PROBE_CACHE"
        ) from error
    say(f"{public.name} is fetched: {folder / part}")
    return folder / part


def _fetch(public: PublicSet, url: str, say: Callable[[str], None], show_progress: bool) -> None:
    from se_probe.images.public.download import download

    _require_space(public)
    archive = downloads() / public.archive_name
    say(f"fetching {public.name}: {public.holds}; {readable_size(public.size)} from {url}")
    say(f"licence: {public.licence}")
    with byte_bar("downloading", public.size, shown=show_progress) as progress:
        download(url, archive, public.size, public.sha256, progress)
    unpacked = downloads() / public.folder_name
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        with byte_bar("unpacking", public.size, shown=show_progress) as progress:
            unpack(archive, unpacked, public.unpacked, progress)
        _require_parts(public, unpacked)
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


def _require_parts(public: PublicSet, unpacked: Path) -> None:
    missing = next((part for part in public.parts.values() if not (unpacked / part).is_dir()), None)
    if missing is not None:
        raise SeProbeError(f"{public.archive_name} holds no folder {missing}; nothing of it was kept")


def _write_receipt(public: PublicSet, url: str, unpacked: Path) -> None:
    facts = {
        "name": public.name,
        "url": url,
        "bytes": public.size,
        "sha256": public.sha256,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (unpacked / RECEIPT).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
