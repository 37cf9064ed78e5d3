"""The bytes of one file: on disk, in a store behind a URL, or a part of a tar in either."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from typing import IO, Any, Protocol

from fsspec.core import url_to_fs

from se_probe.errors import SeProbeError, first_line

LARGEST = 2**30
_END = 2048
_PAUSES = (0.2, 1.0)


class Blob(Protocol):
    """The bytes of one file; it can be pickled, so that worker processes can read it."""

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            OSError: the file cannot be read, or is too large.
            SeProbeError: its store cannot be reached.
        """

    def length(self) -> int:
        """Return the number of bytes; OSError where the file cannot be accessed."""

    def fingerprint(self) -> str:
        """Return a cheap fingerprint of the contents: the size, and a digest of both ends or the store's own tag.

        Raises:
            OSError: the file cannot be read.
        """

    def stream(self) -> AbstractContextManager[IO[bytes]]:
        """Open the whole file that holds the bytes, to seek in it."""

    def part(self, offset: int, size: int) -> Blob:
        """Return `size` bytes of that file from `offset` on."""


@dataclass(frozen=True)
class FileBlob:
    """A file on disk, or `size` bytes from `offset` on inside a tar."""

    path: str
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """Return the bytes."""
        _require_size(self.length())
        with self.stream() as stream:
            stream.seek(self.offset)
            return stream.read() if self.size is None else stream.read(self.size)

    def length(self) -> int:
        """Return the number of bytes; OSError also for a pipe, which would block."""
        facts = os.stat(self.path)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return facts.st_size if self.size is None else self.size

    def fingerprint(self) -> str:
        """Return the size and a digest of the first and last bytes, which survive copying."""
        size = self.length()
        with self.stream() as stream:
            stream.seek(self.offset)
            first = stream.read(min(size, _END))
            stream.seek(self.offset + max(size - _END, 0))
            return _fingerprint(size, first, stream.read(min(size, _END)))

    def stream(self) -> IO[bytes]:
        """Open the file; OSError where it is no regular file."""
        self.length()
        return open(self.path, "rb")

    def part(self, offset: int, size: int) -> FileBlob:
        """Return `size` bytes of the file from `offset` on."""
        return replace(self, offset=offset, size=size)


@dataclass(frozen=True)
class BytesBlob:
    """Bytes that were read already."""

    data: bytes = field(repr=False)

    def read(self) -> bytes:
        """Return the bytes."""
        return self.data

    def length(self) -> int:
        """Return the number of bytes."""
        return len(self.data)

    def fingerprint(self) -> str:
        """Return the size and a digest of the ends."""
        return bytes_fingerprint(self.data)

    def stream(self) -> IO[bytes]:
        """Open the bytes as a file."""
        return BytesIO(self.data)

    def part(self, offset: int, size: int) -> BytesBlob:
        """Return `size` bytes from `offset` on."""
        return BytesBlob(self.data[offset : offset + size])


@dataclass(frozen=True)
class StoreBlob:
    """A file in the store of a URL, by its path there; `size` bytes from `offset` on, the whole file where None.

    `tag` is the store's own version of the contents: an ETag, a checksum or a time.
    """

    url: str
    path: str
    size: int
    offset: int | None = None
    tag: str = ""

    def read(self) -> bytes:
        """Return the bytes. Raise OSError for a missing file, SeProbeError where the store fails three times."""
        _require_size(self.size)
        for pause in (*_PAUSES, None):
            try:
                return self._fetched()
            except (FileNotFoundError, PermissionError) as error:
                missing = isinstance(error, FileNotFoundError)
                number = errno.ENOENT if missing else errno.EACCES
                raise OSError(number, os.strerror(number)) from error
            # Each store's package raises its own exception types.
            except Exception as error:
                if pause is None:
                    raise SeProbeError(
                        f"{self.path} could not be read from its store ({first_line(error)}), after "
                        f"{len(_PAUSES) + 1} attempts; the image is not skipped, since it may be sound"
                    ) from error
                time.sleep(pause)
        raise RuntimeError("unreachable: the last attempt returns or raises")

    def _fetched(self) -> bytes:
        system = _system(self.url, os.getpid())
        if self.offset is None:
            return bytes(system.cat_file(self.path))
        data = bytes(system.cat_file(self.path, start=self.offset, end=self.offset + self.size))
        if len(data) != self.size:
            raise OSError(f"{len(data)} bytes came in the place of {self.size}")
        return data

    def length(self) -> int:
        """Return the number of bytes, as listed."""
        return self.size

    def fingerprint(self) -> str:
        """Return the size and the store's tag of the contents, as listed; nothing is read."""
        return f"{self.size}:{self.offset or 0}:{self.tag}"

    def stream(self) -> AbstractContextManager[IO[bytes]]:
        """Open the file, read ahead in blocks."""
        stream: AbstractContextManager[IO[bytes]] = _system(self.url, os.getpid()).open(self.path, "rb")
        return stream

    def part(self, offset: int, size: int) -> StoreBlob:
        """Return `size` bytes of the file from `offset` on."""
        return replace(self, offset=offset, size=size)


def bytes_fingerprint(data: bytes) -> str:
    """Return the fingerprint of a file that holds these bytes."""
    return _fingerprint(len(data), data[:_END], data[-_END:])


def _fingerprint(size: int, first: bytes, last: bytes) -> str:
    return f"{size}:{hashlib.blake2b(first + last, digest_size=8).hexdigest()}"


def _require_size(size: int) -> None:
    if size > LARGEST:
        raise OSError(errno.EFBIG, f"{size} bytes: larger than any image that is read ({LARGEST} bytes)")


@lru_cache(maxsize=8)
def _system(url: str, process: int) -> Any:
    """Return the file system of a URL for this process; its connections do not survive a fork."""
    return url_to_fs(url)[0]
