"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table


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
