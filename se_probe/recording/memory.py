"""Manage memory during a run: keep freed blocks between passes, and halve batches when memory is short."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

from se_probe.errors import SeProbeError

Passed = TypeVar("Passed")
_MESSAGES = ("out of memory", "can't allocate memory")


class OutOfMemoryRetry(Generic[Passed]):
    """Run whole batches; when memory is short, halve the number of images at once, for the rest of the run."""

    def __init__(self, forward: Callable[[torch.Tensor, Sequence[int]], Passed], say: Callable[[str], None]) -> None:
        self._forward = forward
        self._say = say
        self._most: int | None = None

    def __call__(self, images: torch.Tensor, units: Sequence[int]) -> list[Passed]:
        """Return the passes of a batch, in order."""
        passed: list[Passed] = []
        first = 0
        while first < len(images):
            last = first + min(self._most or len(images), len(images))
            try:
                passed.append(self._forward(images[first:last], units[first:last]))
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve(len(images[first:last]), error)
            else:
                first = last
        return passed

    def _halve(self, images: int, error: RuntimeError) -> None:
        if images == 1:
            raise SeProbeError(
                "the device's memory does not hold the forward pass of a single image; choose a smaller network or "
                "input, or --device cpu."
            ) from error
        self._most = images // 2
        self._say(f"memory    {images} images at once do not fit; continuing with {self._most}")


def _is_out_of_memory(error: RuntimeError) -> bool:
    # Only CUDA has an exception class for it; on the CPU and MPS the message says it.
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(text in str(error) for text in _MESSAGES)


# mallopt(3): its parameters, and the values that glibc's own adjustment reaches on a 64-bit machine.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_ADJUSTED = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_NO_TRIMMING = -1

_inside = False


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep freed memory in the process within the context, and return it to the system at the end.

    glibc unmaps a large block when it is freed and maps the next one page by page. Feature maps of a batch are such
    blocks, and a convolutional network may spend a third of its time on these page faults (see benchmarks/). Without
    glibc's `mallopt` nothing changes.
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
