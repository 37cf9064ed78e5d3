"""Errors meant for users, and one-line summaries of foreign exceptions."""

from __future__ import annotations

_LONGEST = 300


class SeProbeError(Exception):
    """An input that se-probe cannot use.

    The message is one line: what was found, what was expected, what to do. The command line prints it and exits with
    2; any other exception is a defect.
    """


class InterruptedRun(KeyboardInterrupt):
    """A run stopped by a signal after it wrote what was recorded; it can be resumed.

    Attributes:
        signal: number of the signal; the command line exits with 128 + that.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class OtherRankError(SeProbeError):
    """Another process of the same run failed and reported it; this one ends without a message."""


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error, its type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def message_of(error: BaseException) -> str:
    """Return an error's message in one line, the operating system's if any; its type if it is empty."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(message.split()) or type(error).__name__


def one_line(error: BaseException) -> str:
    """Return the type of an error and its message without line breaks, cut after 300 characters."""
    message = " ".join(str(error).split())
    message = f"{message[:_LONGEST]}…" if len(message) > _LONGEST else message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
