"""The one exception that stands for a user's mistake or an input that cannot be used, and what others say in a line."""


class SeProbeError(Exception):
    """An input that se-probe cannot use.

    The message is one line: what was found, what was expected, what to do. The command line prints it
    and exits with 2; anything else that escapes is a defect.
    """


class InterruptedRun(KeyboardInterrupt):
    """A run that was stopped by a signal after it had put on disk what was recorded; it can be resumed.

    Attributes:
        signal: number of the signal; the command line exits with 128 + that.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class OtherRankError(SeProbeError):
    """Another process of the same run failed and has said why; this one ends without saying it again."""


def first_line(error: BaseException) -> str:
    """Return what an error of a library says first, for one line of ours; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
