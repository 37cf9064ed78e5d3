"""The files of a data folder or tar: which are images, and the bytes of each."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from se_probe.errors import SeProbeError

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
_LARGEST = 2**30
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Blob:
    """Where the bytes of one file lie: a file on disk, or `size` bytes from `offset` on inside a tar."""

    path: str
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            OSError: the file cannot be read, is no regular file (a pipe would wait for ever), or is too large.
        """
        facts = os.stat(self.path)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError("not a regular file")
        size = facts.st_size if self.size is None else self.size
        if size > _LARGEST:
            raise OSError(f"{size} bytes: larger than any image that is read ({_LARGEST} bytes)")
        with open(self.path, "rb") as stream:
            stream.seek(self.offset)
            return stream.read() if self.size is None else stream.read(self.size)


@dataclass(frozen=True)
class Listing:
    """The visible files below a root, by their path relative to it with "/"; hidden ones are left out."""

    root: Path
    files: Mapping[str, Blob] = field(repr=False)
    hidden: int = 0

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The names of the image files, sorted."""
        return tuple(sorted(name for name in self.files if is_image(name)))

    @cached_property
    def others(self) -> tuple[str, ...]:
        """The names of all other files, sorted."""
        return tuple(sorted(name for name in self.files if not is_image(name)))

    def text(self, name: str) -> str:
        """Return the contents of a text file.

        Raises:
            SeProbeError: the file cannot be read, or is not UTF-8.
        """
        return read_text(self.files[name], name)


def read_text(blob: Blob, name: str) -> str:
    """Return the bytes of a text file as text.

    Raises:
        SeProbeError: the file cannot be read, or is not UTF-8.
    """
    try:
        return blob.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SeProbeError(f"{name} cannot be read ({reason}); expected a text file with labels") from error


def is_image(name: str) -> bool:
    """Return whether the file's extension, in any case, is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def readable(name: str) -> str:
    """Return a file's name as text that every table, page and terminal can show in one line.

    Control characters, and bytes that are no UTF-8, become `\\x0a`, `\\xff`; every other name stays as it is.
    """
    return _UNREADABLE.sub(_escaped, name)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that Python's file names carry as a lone surrogate
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def list_files(root: Path) -> Listing:
    """Return the files below a folder, in a .tar file (tars within it included), or in a folder of .tar files.

    Symbolic links are followed, except to a folder that holds them. In a folder of tars each tar stands for a
    folder of its name.

    Raises:
        SeProbeError: there is no such folder or tar, or it cannot be read.
    """
    if root.is_file():
        return _tar_listing(root, {"": root})
    if not root.is_dir():
        raise SeProbeError(
            f"{readable(str(root))} does not exist; expected a folder of images, a .tar file, or a name such as "
            "hfds/NAME"
        )
    try:
        listing = _visible(root, _walk(root, "", frozenset()))
    except OSError as error:
        raise SeProbeError(
            f"{readable(str(error.filename))} cannot be read ({error.strerror}); expected a readable folder"
        ) from error
    tars = {name: Path(listing.files[name].path) for name in listing.others if name.lower().endswith(".tar")}
    if tars and not listing.images:
        return _tar_listing(root, {name[: -len(".tar")] + "/": path for name, path in tars.items()})
    return listing


def _walk(folder: str | Path, prefix: str, ancestors: frozenset[str]) -> Iterator[tuple[str, Blob]]:
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        if not prefix:
            raise
        return  # removed since its parent was listed
    for entry in found:
        if _is_folder(entry):
            yield from _walk(entry.path, f"{prefix}{entry.name}/", ancestors | {real})
        else:
            # A dangling link is listed too: it is reported as an image that cannot be read, not left out.
            yield prefix + entry.name, Blob(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads to itself, or through a folder that may not be read


def _visible(root: Path, found: Iterable[tuple[str, Blob]]) -> Listing:
    """Return the files that are not hidden, each under a name that can be shown."""
    files: dict[str, Blob] = {}
    raws: dict[str, str] = {}
    hidden = 0
    for raw, blob in found:
        name = readable(raw)
        if _is_hidden(name):
            hidden += 1
            continue
        if raws.setdefault(name, raw) != raw:
            raise SeProbeError(f"{readable(str(root))} holds two files that are both shown as {name}; rename one")
        files[name] = blob
    return Listing(root, files, hidden)


def _tar_listing(root: Path, tars: Mapping[str, Path]) -> Listing:
    return _visible(root, (item for prefix, path in tars.items() for item in _tar_members(path, prefix)))


def _tar_members(path: Path, prefix: str) -> Iterator[tuple[str, Blob]]:
    try:
        with tarfile.open(path, "r:") as tar:
            yield from _members(tar, path, prefix, 0)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SeProbeError(
            f"{readable(str(path))} is not a readable .tar file ({error}); expected a folder of images or an "
            "uncompressed tar: unpack a compressed one first"
        ) from error


def _members(tar: tarfile.TarFile, path: Path, prefix: str, start: int) -> Iterator[tuple[str, Blob]]:
    for member in tar:
        if not member.isreg():
            continue
        name = prefix + member.name.removeprefix("./")
        inner = tar.extractfile(member) if name.lower().endswith(".tar") else None
        if inner is None:
            yield name, Blob(str(path), start + member.offset_data, member.size)
            continue
        with tarfile.open(fileobj=inner, mode="r:") as child:
            yield from _members(child, path, name[: -len(".tar")] + "/", start + member.offset_data)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or "/." in name or "__MACOSX" in name.split("/")
