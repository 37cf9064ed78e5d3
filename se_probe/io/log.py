"""The package's log: messages under a topic, which Python's logging keeps or shows as its user configures it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("se_probe")


def tell(topic: str, text: str, level: int = logging.INFO) -> None:
    """Log a message; a handler finds its parts in the record's attributes `topic` and `text`.

    WARNING is for what a reader should know before trusting results, INFO for what was resolved, DEBUG for details.
    """
    LOGGER.log(level, "%s: %s", topic, text, extra={"topic": topic, "text": text})


def tell_line(line: str) -> None:
    """Log a line whose first ten columns are its topic."""
    topic, text = line[:10].strip(), line[10:]
    tell(topic, text, logging.WARNING if topic == "warning" else logging.INFO)


@contextmanager
def silence(quiet: bool) -> Iterator[None]:
    """Disable the log within the context if `quiet`, so that one process of several reports for all."""
    before = LOGGER.disabled
    LOGGER.disabled = before or quiet
    try:
        yield
    finally:
        LOGGER.disabled = before
