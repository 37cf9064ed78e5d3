"""Tables for people and JSON for scripts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Characters in a line of a file.
WIDE = 160


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """Return a table; columns of numbers are aligned to the right."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    cells = [[escape(str(cell)) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = all(_is_number(row[index]) for row in cells)
        drawn.add_column(column, justify="right" if numeric else "left", no_wrap=index == 0)
    for row in cells:
        drawn.add_row(*row)
    return drawn


def _is_number(cell: str) -> bool:
    """Whether a cell holds a number, or a dash in the place of one."""
    return not set(cell) - set("0123456789.,+-–%×")


def print_json(value: object) -> None:
    """Print a value as JSON to standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def console(*, stderr: bool = False) -> Console:
    """Return a console that shows text as it is: names of networks and files are no markup.

    Files and pipes have no width that a table would have to fit, unless COLUMNS says so.
    """
    shown = Console(stderr=stderr, highlight=False, emoji=False)
    if not shown.is_terminal and "COLUMNS" not in os.environ:
        shown.width = WIDE
    return shown
