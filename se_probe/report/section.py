"""What a report shows of a result: tables as text, and a section with words, a table and figures."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import pandas as pd

from se_probe.report.figures import ReportFigure
from se_probe.report.words import words_for


@dataclass(frozen=True)
class Cell:
    """Text of a cell; `key` is the number that it sorts by, None where it sorts by its text."""

    text: str
    key: float | None = None


@dataclass(frozen=True)
class Heading:
    """Heading of a column and what the column means."""

    label: str
    note: str
    numeric: bool


@dataclass(frozen=True)
class PageTable:
    """A table of a page, as text.

    Attributes:
        headings: of its columns.
        rows: the first cell of each names the row.
        common: heading and value of what is the same in every row, which has no column.
        of_sites: whether each row is named by a site, which the page then links to the explorer.
    """

    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    common: tuple[tuple[str, str], ...]
    of_sites: bool = True


@dataclass(frozen=True)
class Section:
    """A result in a run's folder, as a section of its report.

    Attributes:
        key: its anchor on the page.
        title: its heading.
        words: what was done and found, one sentence each.
        table: the result.
        figures: in the order in which they are shown.
        summary: sentences for the top of the report and for the command line.
    """

    key: str
    title: str
    words: tuple[str, ...]
    table: PageTable
    figures: tuple[ReportFigure, ...] = ()
    summary: tuple[str, ...] = ()


def sites_table(table: pd.DataFrame, first: str = "site") -> PageTable:
    """Return a table for a page, of sites or of what the column `first` names, which comes first."""
    others = [name for name in table.columns if name != first]
    same = [name for name in others if len(table) > 1 and table[name].nunique(dropna=False) == 1]
    shown = [first, *(name for name in others if name not in same)]
    columns = [_cells(table[name], words_for(name).decimals) for name in shown]
    headings = [
        Heading(words_for(name).label, words_for(name).note, all(cell.key is not None for cell in column))
        for name, column in zip(shown, columns, strict=True)
    ]
    common = [(words_for(name).label, _cell(table[name].iloc[0], words_for(name).decimals).text) for name in same]
    return PageTable(tuple(headings), tuple(zip(*columns, strict=True)), tuple(common), first == "site")


def _cells(values: pd.Series, decimals: int | None) -> list[Cell]:
    """Return a column, without numbers to sort by where some values are text."""
    cells = [_cell(value, decimals) for value in values]
    return cells if all(cell.key is not None for cell in cells) else [Cell(cell.text) for cell in cells]


def _cell(value: Any, decimals: int | None) -> Cell:
    if pd.isna(value):
        return Cell("–", float("-inf"))
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return Cell(str(value))
    number = float(value)
    if decimals is None and number.is_integer():
        return Cell(f"{int(number):,}", number)
    return Cell(_digits(number, 3 if decimals is None else decimals), number)


def _digits(number: float, decimals: int) -> str:
    """Keep a digit of small numbers, down to 0.0001: a spread of 0.0003 is not 0."""
    if not 0 < abs(number) < 0.5 * 10**-decimals:
        return f"{number:z.{decimals}f}"
    return f"{number:.1g}" if abs(number) >= 0.0001 else "< 0.0001"


def with_limits(value: float, low: float, high: float, shape: str = "z.2f", factor: float = 1.0) -> str:
    """Return a number, times a factor, with its limits as a cell shows them; a dash where it is NaN."""
    if math.isnan(value):
        return "–"
    limits = "" if math.isnan(low) else f" [{factor * low:{shape}}, {factor * high:{shape}}]"
    return f"{factor * value:{shape}}{limits}"


def sentence(text: str) -> str:
    """Return a text with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."
