"""List the files of a folder, a tar or shards, on disk or behind an fsspec URL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from se_probe.errors import SeProbeError, first_line
from se_probe.images.blobs import Blob, FileBlob, StoreBlob
from se_probe.images.listing import Listing, folder_listing, list_files, readable, tar_listing
from se_probe.io.files import is_url, storage_errors

_WEB = re.compile(r"(?:(?:simplecache|filecache|blockcache)::)?https?://", re.IGNORECASE)
_PASSWORD = re.compile(r"(?<=://)[^/@:]*:[^/@]*@")
_SIGNED = re.compile(r"(?<=://)[^/@]*@|\?.*")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_MOST_SHARDS = 10_000
_BLOCK = 512
_TAGS = ("ETag", "etag", "md5Hash", "crc32c", "checksum", "LastModified", "mtime", "created")


def list_place(place: str | Path) -> Listing:
    """Return the files of a folder or tar, on disk or behind a URL."""
    if not is_url(place):
        return list_files(Path(place).expanduser())
    url, shown = str(place), shown_url(str(place))
    with storage_errors(shown):
        system, root = url_to_fs(url)
    if isinstance(system, LocalFileSystem):
        return list_files(Path(root))
    if not _WEB.match(url):
        return _store_listing(url, shown, system, root.rstrip("/"))
    if not urlsplit(url).path.lower().endswith(".tar"):
        raise SeProbeError(
            f"{shown} is no .tar file, and a web server does not list what a folder holds; expected the address of a "
            ".tar, a store that can be listed (s3://, gs:// ...), or shards as wds/https://..."
        )
    return tar_listing(shown, {"": _tar(url)}, dict)


def shown_url(url: str) -> str:
    """Return a URL without possible secrets: a password before the host, a signature after the path."""
    return readable((_SIGNED if _WEB.match(url) else _PASSWORD).sub("", url))


def _store_listing(url: str, shown: str, system: Any, root: str) -> Listing:
    with storage_errors(shown):
        try:
            found: Mapping[str, Any] = system.find(root, detail=True, **_strict(system))
        except FileNotFoundError:
            found = {}
    if not found:
        raise SeProbeError(f"{shown} holds no files, or does not exist; expected a folder of images or a .tar file")
    beside = partial(_stored_beside, url, root)
    blobs = {path: _blob(url, path, facts) for path, facts in found.items()}
    if list(blobs) == [root]:
        return tar_listing(shown, {"": (shown, blobs[root])}, beside)
    return folder_listing(shown.rstrip("/"), _named(blobs, root, shown), beside)


def _blob(url: str, path: str, facts: Mapping[str, Any]) -> StoreBlob:
    """Return a file of a store with its size, and its version under the first of the usual keys."""
    tag = next((str(facts[key]) for key in _TAGS if facts.get(key)), "")
    return StoreBlob(url=url, path=path, size=int(facts.get("size") or 0), tag=tag)


def _strict(system: Any) -> dict[str, str]:
    """Return the option that makes fsspec's own walk raise at unreadable folders."""
    walks = type(system).find is AbstractFileSystem.find
    walks |= getattr(type(system), "_find", None) is AsyncFileSystem._find
    return {"on_error": "raise"} if walks else {}


def _named(blobs: Mapping[str, Blob], root: str, shown: str) -> Iterator[tuple[str, Blob]]:
    """Yield each file with its path below the root, without the entries that some stores list for folders."""
    prefix = f"{root}/" if root else ""
    for path, blob in sorted(blobs.items()):
        if not path.startswith(prefix):
            raise SeProbeError(f"{shown} lists a file {readable(path)}, which is not in it")
        name = path.removeprefix(prefix)
        if name and not name.endswith("/"):
            yield name, blob


def list_shards(place: str, where: str) -> Listing:
    """List the files in the tars of a folder or of a pattern such as `data/val-{000..007}.tar`; no command is run.

    Each tar counts as a folder of its name.
    """
    if Path(place).expanduser().is_dir() or not place.endswith(".tar"):
        return list_place(place)
    tars: dict[str, tuple[str, Blob]] = {}
    for tar in _expanded(place, where):
        name = f"{PurePosixPath(tar).name}/"
        if name in tars:
            raise SeProbeError(f"{where} means two shards called {name[:-1]}; expected shards of different names")
        tars[name] = _tar(tar)
    return tar_listing(where, tars, dict)


def _expanded(pattern: str, where: str) -> list[str]:
    before, braces, after = _BRACES.split(pattern, maxsplit=1) if _BRACES.search(pattern) else (pattern, None, "")
    if braces is None and not set(pattern) & set("{}$"):
        return [pattern]
    items = (braces or "").split(",")
    if bounds := _RANGE.fullmatch(braces or ""):
        first, last = int(bounds[1]), int(bounds[2])
        if last - first >= _MOST_SHARDS:
            raise SeProbeError(f"{where} means {last - first + 1} shards; expected at most {_MOST_SHARDS}")
        items = [f"{number:0{len(bounds[1])}d}" for number in range(first, last + 1)]
    elif len(items) == 1:
        raise SeProbeError(
            f"{where} has braces or a $ that are no pattern; expected a folder of shards, or a pattern such as "
            "wds/data/val-{000..007}.tar or wds/data/{a,b}.tar"
        )
    return [f"{before}{item}{rest}" for item in items for rest in _expanded(after, where)]


def _tar(place: str) -> tuple[str, Blob]:
    """Return a tar's name for messages, and its bytes."""
    if not is_url(place):
        path = Path(place).expanduser()
        if not path.is_file():
            raise SeProbeError(f"{readable(place)} does not exist or is no file; expected a .tar file")
        return str(path), FileBlob(path=str(path))
    shown = shown_url(place)
    with storage_errors(shown):
        system, path = url_to_fs(place)
    if isinstance(system, LocalFileSystem):
        return _tar(str(path))
    with storage_errors(shown):
        try:
            facts = system.info(path)
        except FileNotFoundError as error:
            raise SeProbeError(
                f"{shown} cannot be read ({_why(error)}); expected the address of a .tar file"
            ) from error
        if _WEB.match(place):
            _require_ranges(system, path, shown)
    return shown, _blob(place, path, facts)


def _require_ranges(system: Any, path: str, shown: str) -> None:
    try:
        with system.open(path, "rb", block_size=_BLOCK) as stream:
            stream.seek(_BLOCK)
            stream.read(_BLOCK)
    except ValueError as error:
        raise SeProbeError(
            f"{shown}: the server does not send parts of a file (Range requests), so that single images cannot be "
            "read; download the tar and give its path"
        ) from error


def _why(error: FileNotFoundError) -> str:
    """Return the reason: fsspec reports every status of a web server as a missing file."""
    cause = error.__cause__
    status = getattr(cause, "status", None)
    return f"the server answers {status}" if status else first_line(cause if isinstance(cause, Exception) else error)


def _stored_beside(url: str, root: str) -> dict[str, Blob]:
    parent = root.rpartition("/")[0]
    if not parent.strip("/"):
        return {}  # the root is a bucket
    try:
        found = url_to_fs(url)[0].ls(parent, detail=True)
    except OSError:
        return {}
    blobs = [_blob(url, facts["name"], facts) for facts in found if facts["type"] == "file"]
    return {f"../{readable(blob.path.rpartition('/')[2])}": blob for blob in blobs}
