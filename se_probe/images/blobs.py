"""The bytes of one file: on disk, in a store behind a URL, or a part of a tar in either."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import IO, Any, Self

from fsspec.core import url_to_fs

from se_probe.errors import SeProbeError, first_line

LARGEST = 2**30
_END = 2048
_PAUSES = (0.2, 1.0)


@dataclass(frozen=True, kw_only=True)
class Blob(ABC):
    """The bytes of one file; it can be pickled for worker processes.

    Attributes:
        path: the file that holds them.
        offset: where they begin in that file, None for the whole file.
        size: their number, None where it is not known yet.
        data: the bytes, where they were read already.
    """

    path: str
    offset: int | None = None
    size: int | None = None
    data: bytes | None = field(default=None, repr=False)

    def read(self) -> bytes:
        """Return the bytes; OSError where they cannot be read, SeProbeError where their store cannot be reached."""
        if self.data is not None:
            return self.data
        if (size := self.length()) > LARGEST:
            raise OSError(errno.EFBIG, f"{size} bytes: larger than any image that is read ({LARGEST} bytes)")
        return self._read()

    def part(self, offset: int, size: int, data: bytes | None = None) -> Self:
        """Return `size` bytes of the file from `offset` on, with their content where it was read already."""
        return replace(self, offset=offset, size=size, data=data)

    @abstractmethod
    def length(self) -> int:
        """Return the number of bytes; raise OSError where the file cannot be accessed."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a cheap fingerprint of the contents: the size and a digest of both ends, or the store's tag."""

    @abstractmethod
    def stream(self) -> AbstractContextManager[IO[bytes]]:
        """Open the whole file that holds the bytes, to seek in it."""

    @abstractmethod
    def _read(self) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class FileBlob(Blob):
    """A file on disk, or a part of it."""

    def length(self) -> int:
        """Return the number of bytes; raise OSError also for a pipe, which would block."""
        facts = os.stat(self.path)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return facts.st_size if self.size is None else self.size

    def fingerprint(self) -> str:
        """Return the size and a digest of the first and last bytes, which survive copying."""
        size, start = self.length(), self.offset or 0
        with self.stream() as stream:
            stream.seek(start)
            first = stream.read(min(size, _END))
            stream.seek(start + max(size - _END, 0))
            return _fingerprint(size, first, stream.read(min(size, _END)))

    def stream(self) -> IO[bytes]:
        """Open the file; raise OSError where it is no regular file."""
        FileBlob(path=self.path).length()
        return open(self.path, "rb")

    def _read(self) -> bytes:
        with self.stream() as stream:
            stream.seek(self.offset or 0)
            return stream.read(-1 if self.size is None else self.size)


@dataclass(frozen=True, kw_only=True)
class StoreBlob(Blob):
    """A file in the store of a URL, or a part of it; `tag` is its version there: an ETag, a checksum or a time."""

    url: str
    size: int
    tag: str = ""

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

    def _read(self) -> bytes:
        """Read the bytes, in three attempts."""
        for pause in (*_PAUSES, None):
            try:
                return self._fetched()
            except (FileNotFoundError, PermissionError) as error:
                number = errno.ENOENT if isinstance(error, FileNotFoundError) else errno.EACCES
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


def bytes_fingerprint(data: bytes) -> str:
    """Return the fingerprint of a file that holds these bytes."""
    return _fingerprint(len(data), data[:_END], data[-_END:])


def _fingerprint(size: int, first: bytes, last: bytes) -> str:
    return f"{size}:{hashlib.blake2b(first + last, digest_size=8).hexdigest()}"


@lru_cache(maxsize=8)
def _system(url: str, process: int) -> Any:
    """Return the file system of a URL for this process; its connections do not survive a fork."""
    return url_to_fs(url)[0]
