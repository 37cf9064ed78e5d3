"""Show a run: the package's log as lines under topics, tables, and JSON for scripts."""

from __future__ import annotations

import json
import logging
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from se_probe.io.log import LOGGER

TOPIC = 10  # columns of a topic
# What could move the cursor or change the terminal, in names that come from outside.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Characters of numbers, and of a dash in the place of one.
_NUMERIC = set("0123456789.,+-–%×")
WIDE = 160  # characters in a line of a file, for tables


@dataclass(frozen=True)
class Terminal:
    """Where a command's results are shown.

    Attributes:
        console: for people; standard error where standard output is for JSON.
        as_json: whether scripts read the result.
        verbose: whether full statements and paths are shown.
        open_report: whether a report is opened in the browser.
    """

    console: Console
    as_json: bool = False
    verbose: bool = False
    open_report: bool = False

    def line(self, topic: str, text: str) -> None:
        """Show a line under a topic, wrapped at words where there is a width to fit."""
        shown = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
        self.console.print(_wrapped(topic, shown, _width(self.console)), markup=False, soft_wrap=True)

    def print(self, shown: Table | str) -> None:
        """Show a table or a text."""
        if isinstance(shown, str):
            self.console.print(shown, markup=False, soft_wrap=_width(self.console) is None)
        else:
            self.console.print(shown)


def console(*, stderr: bool = False) -> Console:
    """Return a console that shows text as it is: names of networks and files are no markup.

    Files and pipes have no width that a table would have to fit, unless COLUMNS says so.
    """
    shown = Console(stderr=stderr, highlight=False, emoji=False)
    if _width(shown) is None:
        shown.width = WIDE
    return shown


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """Return a table; columns of numbers are aligned to the right."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    cells = [[escape(str(cell)) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = not set().union(*(row[index] for row in cells)) - _NUMERIC
        drawn.add_column(column, justify="right" if numeric else "left", no_wrap=index == 0)
    for row in cells:
        drawn.add_row(*row)
    return drawn


def number(value: float | None, form: str = ",.0f") -> str:
    """Return a number in a format, a dash where there is none."""
    return "–" if value is None or value != value else format(value, form)


def print_json(value: object) -> None:
    """Print a value as JSON to standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def terminal(*, verbose: bool = False, as_json: bool = False, open_report: bool = False) -> Iterator[Terminal]:
    """Show the package's log as long as the context lasts."""
    shown = Terminal(console(stderr=as_json), as_json, verbose, open_report)
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
    """Shows records under their topics."""

    def __init__(self, shown: Terminal) -> None:
        super().__init__()
        self._shown = shown

    def emit(self, record: logging.LogRecord) -> None:
        topic = str(getattr(record, "topic", record.levelname.lower()))
        self._shown.line(topic, str(getattr(record, "text", record.getMessage())))


def _width(shown: Console) -> int | None:
    """Return the width that lines have to fit, None where there is none."""
    return shown.width if shown.is_terminal or "COLUMNS" in os.environ else None


def _wrapped(topic: str, text: str, width: int | None) -> str:
    start = f"{topic:<{TOPIC}}"
    if width is None or width <= 2 * TOPIC:
        return start + text
    fill = textwrap.TextWrapper(
        width, initial_indent=start, subsequent_indent=" " * TOPIC, break_long_words=False, break_on_hyphens=False
    )
    return fill.fill(text)
