"""List the files of a data folder or tar."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import IO

from se_probe.errors import SeProbeError
from se_probe.images.blobs import Blob, FileBlob

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
_LABELS = (".cls", ".json")
_LARGEST_LABEL = 4096
# Lists the files in the folder that holds a root.
Beside = Callable[[], Mapping[str, Blob]]
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Listing:
    """The visible files below a root, by relative path with "/", and the number of hidden ones.

    `look_beside` returns the files beside the root, named `../NAME`: a label file may be there.
    """

    root: str
    files: Mapping[str, Blob] = field(repr=False)
    hidden: int
    look_beside: Beside = field(repr=False)

    @cached_property
    def beside(self) -> Mapping[str, Blob]:
        """The files beside the root, none where their folder may not be read."""
        return self.look_beside()

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The names of the image files, sorted."""
        return tuple(sorted(name for name in self.files if is_image(name)))

    @cached_property
    def others(self) -> tuple[str, ...]:
        """The names of all other files, sorted."""
        return tuple(sorted(name for name in self.files if not is_image(name)))


def read_text(blob: Blob, name: str) -> str:
    """Return the text of a file with labels."""
    try:
        return blob.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SeProbeError(f"{name} cannot be read ({reason}); expected a text file with labels") from error


def is_image(name: str) -> bool:
    """Return whether the file's extension, in any case, is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def readable(name: str) -> str:
    """Return a file's name as one line of printable text.

    Control characters and bytes that are not UTF-8 become `\\x0a`, `\\xff`; other names stay as they are.
    """
    return _UNREADABLE.sub(_escaped, name)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # an undecodable byte, which Python represents as a lone surrogate
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _files_beside(root: Path) -> dict[str, Blob]:
    try:
        with os.scandir(root.resolve().parent) as entries:
            files = sorted((entry.name, entry.path) for entry in entries if entry.is_file())
    except OSError:
        return {}
    return {f"../{name}": FileBlob(path=path) for name, path in files}


def list_files(root: Path) -> Listing:
    """List the files below a folder, in a .tar file (with nested tars), or in a folder of .tar files.

    Symbolic links are followed, except to a folder that contains them. Each tar counts as a folder of its name.
    """
    beside = partial(_files_beside, root)
    if root.is_file():
        return tar_listing(str(root), {"": (str(root), FileBlob(path=str(root)))}, beside)
    if not root.is_dir():
        raise SeProbeError(
            f"{readable(str(root))} does not exist; expected a folder of images, a .tar file, or a name such as "
            "hfds/NAME"
        )
    try:
        return folder_listing(str(root), _walk(root, "", frozenset()), beside)
    except OSError as error:
        raise SeProbeError(
            f"{readable(str(error.filename))} cannot be read ({error.strerror}); expected a readable folder"
        ) from error


def folder_listing(root: str, found: Iterable[tuple[str, Blob]], beside: Beside) -> Listing:
    """Return the visible files of a folder, or the members of its tars where it holds tars and no images."""
    listing = _visible(root, found, beside)
    tars = [name for name in listing.others if name.lower().endswith(".tar")]
    if tars and not listing.images:
        places = {name[: -len(".tar")] + "/": (f"{root}/{name}", listing.files[name]) for name in tars}
        return tar_listing(root, places, beside)
    return listing


def tar_listing(root: str, tars: Mapping[str, tuple[str, Blob]], beside: Beside) -> Listing:
    """Return the visible members of tars, given by the prefix of their members: name for messages, and bytes."""
    members = (item for prefix, (shown, tar) in tars.items() for item in _tar_members(tar, shown, prefix))
    return _visible(root, members, beside)


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
        # entry.is_dir raises for links to themselves or through unreadable folders.
        is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
        if is_folder:
            yield from _walk(entry.path, f"{prefix}{entry.name}/", ancestors | {real})
        else:
            # Dangling links are listed, so that they are reported as unreadable images.
            yield prefix + entry.name, FileBlob(path=entry.path)


def _visible(root: str, found: Iterable[tuple[str, Blob]], beside: Beside) -> Listing:
    """Return the files that are not hidden, under printable names."""
    files: dict[str, Blob] = {}
    raws: dict[str, str] = {}
    hidden = 0
    for raw, blob in found:
        name = readable(raw)
        if name.startswith(".") or "/." in name or "__MACOSX" in name.split("/"):
            hidden += 1
            continue
        if raws.setdefault(name, raw) != raw:
            raise SeProbeError(f"{readable(root)} holds two files that are both shown as {name}; rename one")
        files[name] = blob
    return Listing(root, files, hidden, beside)


def _tar_members(blob: Blob, shown: str, prefix: str) -> Iterator[tuple[str, Blob]]:
    try:
        with blob.stream() as stream:
            yield from _members(stream, blob, prefix, 0)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SeProbeError(
            f"{readable(shown)} is not a readable .tar file ({error}); expected a folder of images or a whole, "
            "uncompressed tar: unpack a compressed one first"
        ) from error


def _members(stream: IO[bytes], whole: Blob, prefix: str, start: int) -> Iterator[tuple[str, Blob]]:
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            inner = tar.extractfile(member) if member.isreg() else None
            if inner is None:
                continue
            name = prefix + member.name.removeprefix("./")
            if name.lower().endswith(".tar"):
                yield from _members(inner, whole, name[: -len(".tar")] + "/", start + member.offset_data)
            else:
                # Labels are read during the scan: in a remote tar each would otherwise take a request.
                is_label = name.lower().endswith(_LABELS) and member.size <= _LARGEST_LABEL
                data = inner.read() if is_label else None
                yield name, whole.part(start + member.offset_data, member.size, data)
        # tarfile treats a truncated or damaged tar as if it ended there.
        stream.seek(tar.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"it is cut short or damaged at byte {start + tar.offset}")
