"""Write files atomically, lock them for one writer, delete them in one step; report errors of disks and stores."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from se_probe.errors import SeProbeError, first_line

if TYPE_CHECKING:  # Importing it takes half a second.
    import pandas as pd

try:
    import fcntl
except ImportError:  # Windows has no such locks; there, runs are not kept apart.
    fcntl = None  # type: ignore[assignment]

_HOST = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:32]
_locked: set[Path] = set()


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file through a temporary file beside it, and make its folder where needed.

    Temporary files that killed processes of this machine have left beside it are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent)
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_stale(folder: Path) -> None:
    for temporary in folder.glob(f".*.{_HOST}.*.tmp"):
        process = temporary.name.split(".")[-2]
        if process.isdecimal() and not _runs(int(process)):
            temporary.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if os.name == "nt":
        return True  # There, signal 0 would end the process.
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def write_file(path: Path, content: bytes) -> None:
    """Write a file as `atomic_write` does; raise SeProbeError where it cannot be written."""
    try:
        atomic_write(path, content)
    except OSError as error:
        raise SeProbeError(f"cannot write {path}: {error.strerror}; choose another folder with --out") from error


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV that reads back exactly, compressed where `path` ends in `.gz`.

    Floats have all digits of a float64, missing values are empty, and the bytes depend on the table alone.
    """
    content = table.to_csv(index=False, lineterminator="\n").encode()
    write_file(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def remove(path: Path) -> None:
    """Rename a file or folder to a hidden name and delete it, so that it disappears in one step.

    `remove_leftovers` deletes what a killed process leaves under the hidden name.
    """
    hidden = path.with_name(f".{path.name}.removed")
    _delete(hidden)
    path.rename(hidden)
    sync(path.parent)
    _delete(hidden)


def remove_leftovers(folder: Path) -> None:
    """Delete what processes killed during `remove` have left in a folder."""
    for hidden in folder.glob(".*.removed"):
        _delete(hidden)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file, or a folder's directory entries, to disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush everything below a folder to disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync(Path(place) / name)
        sync(Path(place))


def require_plain_files(folder: Path) -> None:
    """Refuse a folder that holds links, which may lead elsewhere, or pipes, which would block."""
    with os.scandir(folder) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                require_plain_files(Path(entry.path))
            elif not stat.S_ISREG(mode):
                kind = "a link" if stat.S_ISLNK(mode) else "a pipe, a socket or a device"
                raise SeProbeError(
                    f"{entry.path} is {kind}; expected a regular file. Remove it, or copy the data again."
                )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into one line: why the recording cannot be written, and that it is kept so far."""
    try:
        yield
    except OSError as error:
        raise SeProbeError(
            f"cannot write {path}: {error.strerror or error}; what was recorded before is kept. Make room or permit "
            "writing and continue with --resume, or choose another folder with --out."
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any error in the block into one line; parsers and decoders raise any type on damaged bytes."""
    try:
        yield
    except SeProbeError:
        raise
    except Exception as error:
        raise SeProbeError(
            f"{path} cannot be read ({type(error).__name__}: {first_line(error)}); expected what se-probe wrote. See "
            "what is wrong with se-probe verify, and copy or record it again."
        ) from error


def is_url(place: str | Path) -> bool:
    """Return whether a place is a URL and no path."""
    return "://" in str(place)


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what fsspec raises within the block into one line about the URL."""
    try:
        yield
    except ImportError as error:
        raise SeProbeError(
            f"{url} cannot be reached: the package for its kind of store is not installed ({first_line(error)})."
        ) from error
    except (OSError, ValueError) as error:
        raise SeProbeError(
            f"{url} cannot be reached ({first_line(error)}); expected a URL that fsspec knows, its package and your "
            "permission."
        ) from error


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keep other processes and threads from writing to `path` within the block.

    The system releases the lock when the process ends, even if it is killed. The file `.<name>.lock` beside `path` is
    removed at the end; one left by a killed process locks nothing.
    """
    absolute = path.absolute()
    if absolute in _locked:
        raise _taken(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(path)
    _locked.add(absolute)
    try:
        yield
    finally:
        _locked.discard(absolute)
        with suppress(OSError):
            _lock_file(path).unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int:
    locks: Any = fcntl
    while True:
        # Not flock: decoding processes would inherit the lock and keep it.
        descriptor = os.open(_lock_file(path), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if locks is not None:
                locks.lockf(descriptor, locks.LOCK_EX | locks.LOCK_NB)
            if os.name == "nt" or _is_file(descriptor, _lock_file(path)):
                return descriptor
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            raise _taken(path) from None
        except OSError:
            return descriptor  # Some network file systems have no locks.
        os.close(descriptor)  # The writer before has just removed the file.


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _taken(path: Path) -> SeProbeError:
    return SeProbeError(
        f"another run is writing {path} at this moment; wait for its end, or choose another folder with --out."
    )
