"""Show a run in a terminal: the package's log as lines under topics, tables, JSON for scripts, pages in the browser."""

from __future__ import annotations

import json
import logging
import os
import re
import textwrap
import webbrowser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from se_probe.io.log import LOGGER

TOPIC = 10  # columns of a topic
WIDE = 160  # columns of a table in a file or pipe
# Characters in names from outside that could control the terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Characters of numbers, and the dash for a missing one.
_NUMERIC = set("0123456789.,+-–%×")


@dataclass(frozen=True)
class Terminal:
    """Where a command's results are shown.

    Attributes:
        console: for people; standard error where standard output is for JSON.
        as_json: whether scripts read the result.
        verbose: whether full statements and paths are shown.
    """

    console: Console
    as_json: bool = False
    verbose: bool = False

    def line(self, topic: str, text: str) -> None:
        """Show a line under a topic, wrapped to the terminal's width."""
        shown = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
        self.console.print(_wrapped(topic, shown, _width(self.console)), markup=False, soft_wrap=True)

    def print(self, shown: Table | str) -> None:
        """Show a table or a text."""
        if isinstance(shown, str):
            self.console.print(shown, markup=False, soft_wrap=_width(self.console) is None)
        else:
            self.console.print(shown)


def console(*, stderr: bool = False) -> Console:
    """Return a console without highlighting; files and pipes are `WIDE` unless COLUMNS is set."""
    shown = Console(stderr=stderr, highlight=False, emoji=False)
    if _width(shown) is None:
        shown.width = WIDE
    return shown


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """Return a table with columns of numbers aligned to the right."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    cells = [[escape(str(cell)) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = not set().union(*(row[index] for row in cells)) - _NUMERIC
        drawn.add_column(column, justify="right" if numeric else "left", no_wrap=index == 0)
    for row in cells:
        drawn.add_row(*row)
    return drawn


def number(value: Any, form: str = ",.0f") -> str:
    """Format a value, a dash if it is missing."""
    return "–" if value is None or value != value else format(value, form)


def open_page(page: Path | None) -> None:
    """Open a page in the browser, if it exists."""
    if page is not None and page.exists():
        webbrowser.open(page.resolve().as_uri())


def print_json(value: object) -> None:
    """Print a value as JSON to standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def terminal(*, verbose: bool = False, as_json: bool = False) -> Iterator[Terminal]:
    """Show the package's log within the context."""
    shown = Terminal(console(stderr=as_json), as_json, verbose)
    handler = _Handler(shown)
    before = LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG if verbose else logging.INFO)
    LOGGER.propagate = False
    try:
        yield shown
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before[0])
        LOGGER.propagate = before[1]


class _Handler(logging.Handler):
    """Shows log records under their topics."""

    def __init__(self, shown: Terminal) -> None:
        super().__init__()
        self._shown = shown

    def emit(self, record: logging.LogRecord) -> None:
        topic = str(getattr(record, "topic", record.levelname.lower()))
        self._shown.line(topic, str(getattr(record, "text", record.getMessage())))


def _width(shown: Console) -> int | None:
    """Return the width that lines must fit, None for a file or pipe."""
    return shown.width if shown.is_terminal or "COLUMNS" in os.environ else None


def _wrapped(topic: str, text: str, width: int | None) -> str:
    start = f"{topic:<{TOPIC}}"
    if width is None or width <= 2 * TOPIC:
        return start + text
    fill = textwrap.TextWrapper(
        width, initial_indent=start, subsequent_indent=" " * TOPIC, break_long_words=False, break_on_hyphens=False
    )
    return fill.fill(text)
