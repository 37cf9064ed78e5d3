"""Memory of feature maps that is kept between forward passes on the CPU instead of being fetched anew."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt(3): its parameters, and the values at which glibc's own adjustment ends on a 64-bit machine.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_ADJUSTED = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_NO_TRIMMING = -1

_inside = False


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep freed memory in the process until the end; then all of it goes back to the system.

    glibc gives a large block back as soon as it is freed and fetches the next one page by page. Feature maps of a
    batch are such blocks, and a convolutional network may wait for these page faults a third of its time (see
    benchmarks/). Values are not affected. Without glibc's `mallopt` nothing is changed.
    """
    global _inside
    libc = _glibc()
    if libc is None or _inside:
        yield
        return
    _inside = True
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NO_TRIMMING)
    try:
        yield
    finally:
        _inside = False
        for parameter, value in _ADJUSTED.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if all(hasattr(libc, name) for name in ("mallopt", "malloc_trim")) else None
