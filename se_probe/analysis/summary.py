"""The summary of a run, a comparison or an experiment, as terminal and report show it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """The first lines of a report and of a command's output.

    Attributes:
        sentences: what was found, the worst news first.
        claims: one line per claim: its title, its verdict, and what was found.
        next: the command to run next, None if there is none to suggest.
    """

    sentences: tuple[str, ...]
    claims: tuple[str, ...]
    next: str | None
