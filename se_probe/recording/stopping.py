"""Stop a run on a signal: the batch under way is finished and what was recorded is written to disk."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from se_probe.errors import InterruptedRun


class StopRequest:
    """Whether the process was asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._child_handler: Any = None

    @contextmanager
    def undisturbed_end(self) -> Iterator[None]:
        """Ignore deaths of child processes from the end of the body until `restore`.

        The loader raises from its handler of SIGCHLD, wherever the process is, and so would cut off the writing of the
        last shard where a batch system ends all processes at once.
        """
        try:
            yield
        finally:
            if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
                self._child_handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def restore(self) -> None:
        """Handle the deaths of children as before."""
        if self._child_handler is not None:
            signal.signal(signal.SIGCHLD, self._child_handler)

    def check(self, path: Path) -> None:
        """Raise InterruptedRun where a stop was asked for; `path` is the recording."""
        if self.signal is not None:
            raise InterruptedRun(f"stopped by {self.signal.name}; what was recorded is in {path}", self.signal)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Take SIGINT (Ctrl-C) and SIGTERM (a batch system's end of time) as requests, as long as the context lasts.

    A second SIGINT interrupts at once; SIGTERM is often sent twice, by a batch system and by a launcher, and stays
    a request. Outside the main thread, where Python allows no handlers, nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def take(number: int, _frame: FrameType | None) -> None:
        request.signal = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, take)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        request.restore()
