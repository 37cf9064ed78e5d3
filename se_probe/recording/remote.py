"""Copy recordings to and from remote stores by fsspec's URLs (s3://, gs://, memory:// ...).

A downloaded recording is an ordinary one in a folder of its own and passes the usual checks before it is read.
A store has no rename, so the root's attributes are uploaded last: without them nothing counts as a recording.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs

from se_probe.errors import SeProbeError
from se_probe.io.files import storage_errors
from se_probe.recording.guard import ROOT_ATTRIBUTES


def copy_down(url: str, store: str) -> Path:
    """Copy the recording at the URL of a run or recording into a temporary folder, removed when the process ends."""
    with storage_errors(url):
        system, root = url_to_fs(url)
        inner = f"{root.rstrip('/')}/{store}"
        root = inner if system.exists(f"{inner}/{ROOT_ATTRIBUTES}") else root.rstrip("/")
        found: dict[str, Any] = system.find(root, detail=True)
    names = {path: _name_below(root, path, url) for path in found}
    if ROOT_ATTRIBUTES not in names.values():
        raise SeProbeError(f"{url} holds no recording; expected the folder of a run of se-probe excite.")
    folder = Path(tempfile.mkdtemp(prefix="se-probe-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    size, free = sum(int(facts.get("size") or 0) for facts in found.values()), shutil.disk_usage(folder).free
    if size > free:
        raise SeProbeError(f"{url} has {size:,} bytes, but only {free:,} are free in {folder.parent} for its copy.")
    with storage_errors(url):
        for path, name in names.items():
            target = folder / store / name
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(path, str(target))
    return folder / store


def require_free(url: str, store: str) -> None:
    """Raise SeProbeError where a URL already holds a recording or cannot be reached."""
    with storage_errors(url):
        system, root = url_to_fs(url)
        taken = system.exists(f"{root.rstrip('/')}/{store}/{ROOT_ATTRIBUTES}")
    if taken:
        raise SeProbeError(
            f"{url} already holds a run; choose another place with --out, or replace it with --overwrite."
        )


def copy_up(folder: Path, url: str, store: str) -> None:
    """Copy a run's folder to a URL, replacing a recording there."""
    facts = folder / store / ROOT_ATTRIBUTES
    # Without the lock's file: closing it would release the lock.
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != facts and path.suffix != ".lock"]
    with storage_errors(url):
        system, root = url_to_fs(url)
        base = root.rstrip("/")
        if system.exists(f"{base}/{store}/{ROOT_ATTRIBUTES}"):
            system.rm_file(f"{base}/{store}/{ROOT_ATTRIBUTES}")
        if system.exists(f"{base}/{store}"):
            system.rm(f"{base}/{store}", recursive=True)
        for path in [*files, facts]:
            target = f"{base}/{path.relative_to(folder).as_posix()}"
            system.makedirs(target.rpartition("/")[0], exist_ok=True)
            system.put_file(str(path), target)


def _name_below(root: str, path: str, url: str) -> str:
    """Return a file's path relative to a root; refuse one that leads out of it."""
    name = path.removeprefix(root).lstrip("/")
    if not path.startswith(root) or not name or ".." in PurePosixPath(name).parts or "\\" in name:
        raise SeProbeError(f"{url} lists a file {path!r}, which leads out of it; it is not copied.")
    return name
