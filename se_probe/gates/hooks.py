"""Dispatch modes of a thread, which an interrupt cannot leave on; and which operations are not the network's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils._python_dispatch import TorchDispatchMode


class _Thread(threading.local):
    """The modes of a thread that are on, outermost first, with their owners; and whether `reading` is on."""

    def __init__(self) -> None:
        self.modes: list[tuple[object, TorchDispatchMode]] = []
        self.reading = False


_THREAD = _Thread()


def push_mode(owner: object, mode: TorchDispatchMode) -> None:
    """Turn a mode on until `pop_mode`; an interrupted pass turns it off when the follower `owner` is left."""
    mode.__enter__()
    _THREAD.modes.append((owner, mode))


def pop_mode(owner: object) -> TorchDispatchMode | None:
    """Turn the innermost mode off if it is that of `owner`, and return it."""
    if not _THREAD.modes or _THREAD.modes[-1][0] is not owner:
        return None
    mode = _THREAD.modes.pop()[1]
    mode.__exit__(None, None, None)
    return mode


def modes_on() -> int:
    """Return how many modes are on."""
    return len(_THREAD.modes)


def unwind_to(outermost: int) -> None:
    """Turn off all modes inside of the `outermost`, a number."""
    while modes_on() > outermost:
        pop_mode(_THREAD.modes[-1][0])


def unwind(owner: object) -> None:
    """Turn off the modes of `owner` and those inside of them; an interrupt skips the hooks that would have done so."""
    unwind_to(next((place for place, (item, _) in enumerate(_THREAD.modes) if item is owner), modes_on()))


def is_reading() -> bool:
    """Whether the operations at hand are those of a recorder or an intervention and not the network's."""
    return _THREAD.reading


@contextmanager
def reading() -> Iterator[None]:
    """Keep the operations in the block from being taken for the network's."""
    before, _THREAD.reading = _THREAD.reading, True
    try:
        yield
    finally:
        _THREAD.reading = before
