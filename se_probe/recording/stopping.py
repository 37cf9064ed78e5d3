"""End a run after the current batch on SIGINT or SIGTERM, and report a decoding process that died in one line."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from se_probe.errors import InterruptedRun, SeProbeError, first_line


class StopRequest:
    """Whether the process was asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._child_handler: Any = None

    def ignore_children(self) -> None:
        """Ignore deaths of child processes until the end of `stoppable`.

        The loader raises from its handler of SIGCHLD. Where a batch system ends all processes at once, that would
        interrupt the writing of the last shard.
        """
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
            self._child_handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    @contextmanager
    def handlers(self) -> Iterator[None]:
        """Keep the signal received within the context; outside the main thread Python allows no handlers."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def take(number: int, _frame: FrameType | None) -> None:
            self.signal = signal.Signals(number)
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, before[signal.SIGINT])

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, take)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._child_handler is not None:
                signal.signal(signal.SIGCHLD, self._child_handler)


@contextmanager
def stoppable(path: Path, *, workers: int) -> Iterator[StopRequest]:
    """Treat SIGINT (Ctrl-C) and SIGTERM (a batch system's time limit) within the context as requests to stop.

    A second SIGINT interrupts at once. SIGTERM is often sent twice, by a batch system and by a launcher.

    Raises:
        InterruptedRun: at the end of the context, after a request to stop.
        SeProbeError: one of the `workers` that decode images died without a request to stop.
    """
    stop = StopRequest()
    with stop.handlers():
        try:
            yield stop
        except (RuntimeError, OSError, EOFError) as error:
            if not (workers and _is_death(error)):
                raise
            _forget_frames(error)
            if stop.signal is None:
                raise SeProbeError(
                    f"a process that decodes images died ({first_line(error).rstrip('. ')}); the system kills them "
                    f"where memory runs short. What was recorded is kept in {path}: continue with --resume, and with "
                    "fewer --workers if it happens again."
                ) from error
        if stop.signal is not None:
            raise InterruptedRun(f"stopped by {stop.signal.name}; what was recorded is in {path}", stop.signal)


def _is_death(error: BaseException) -> bool:
    """Recognise the loader's dead-worker error: by its message, or a closed connection."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker")
    # An error raised inside a living worker arrives with another message.
    return isinstance(error, ConnectionError | EOFError | FileNotFoundError) and not str(error).startswith("Caught ")


def _forget_frames(error: BaseException | None) -> None:
    """Clear the frames of an error: the loader ends its processes only when nothing refers to it."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
