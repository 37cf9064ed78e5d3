"""The files of a data folder or tar: which are images, and the bytes of each."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from se_probe.errors import SeProbeError

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})


@dataclass(frozen=True)
class Blob:
    """Where the bytes of one file lie: a file on disk, or `size` bytes from `offset` on inside a tar."""

    path: Path
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as stream:
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
    return PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS


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
            f"{root} does not exist; expected a folder of images, a .tar file, or a name such as hfds/NAME"
        )
    try:
        files = dict(_walk(root, "", frozenset()))
    except OSError as error:
        raise SeProbeError(f"{error.filename} cannot be read ({error.strerror}); expected a readable folder") from error
    visible = {name: blob for name, blob in files.items() if not _is_hidden(name)}
    listing = Listing(root, visible, len(files) - len(visible))
    tars = {name: visible[name].path for name in listing.others if name.lower().endswith(".tar")}
    if tars and not listing.images:
        return _tar_listing(root, {name[: -len(".tar")] + "/": path for name, path in tars.items()})
    return listing


def _walk(folder: Path, prefix: str, ancestors: frozenset[str]) -> Iterator[tuple[str, Blob]]:
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", ancestors | {real})
        else:
            # A dangling link is listed too: it is reported as an image that cannot be read, not left out.
            yield prefix + entry.name, Blob(Path(entry.path))


def _tar_listing(root: Path, tars: Mapping[str, Path]) -> Listing:
    files: dict[str, Blob] = {}
    for prefix, path in tars.items():
        try:
            with tarfile.open(path, "r:") as tar:
                files.update(_members(tar, path, prefix, 0))
        except (tarfile.TarError, OSError, EOFError) as error:
            raise SeProbeError(
                f"{path} is not a readable .tar file ({error}); expected a folder of images or an uncompressed "
                "tar: unpack a compressed one first"
            ) from error
    visible = {name: blob for name, blob in files.items() if not _is_hidden(name)}
    return Listing(root, visible, len(files) - len(visible))


def _members(tar: tarfile.TarFile, path: Path, prefix: str, start: int) -> Iterator[tuple[str, Blob]]:
    for member in tar:
        if not member.isreg():
            continue
        name = prefix + member.name.removeprefix("./")
        inner = tar.extractfile(member) if name.lower().endswith(".tar") else None
        if inner is None:
            yield name, Blob(path, start + member.offset_data, member.size)
            continue
        with tarfile.open(fileobj=inner, mode="r:") as child:
            yield from _members(child, path, name[: -len(".tar")] + "/", start + member.offset_data)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
