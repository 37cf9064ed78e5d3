"""The table of sites as a page shows it: headings, cells as text, and what cells sort by."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import pandas as pd

from se_probe.report.words import words_for


@dataclass(frozen=True)
class Cell:
    """Text of a cell; `key` is the number that it sorts by, None where it sorts by its text."""

    text: str
    key: float | None


@dataclass(frozen=True)
class Heading:
    """Heading of a column and what the column means."""

    label: str
    note: str
    numeric: bool


@dataclass(frozen=True)
class SitesTable:
    """Columns that differ between sites; `common` are the others as heading and value."""

    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    common: tuple[tuple[str, str], ...]


def sites_table(table: pd.DataFrame, first: str = "site") -> SitesTable:
    """Return a table for a page, of sites or of what else is named in the column `first`, which comes first."""
    same = [name for name in table.columns if name != first and table[name].nunique(dropna=False) == 1]
    if len(table) == 1:
        same = []
    shown = [first, *(name for name in table.columns if name != first and name not in same)]
    columns = [[_cell(value, words_for(name).decimals) for value in table[name]] for name in shown]
    headings = [
        Heading(words_for(name).label, words_for(name).note, all(cell.key is not None for cell in column))
        for name, column in zip(shown, columns, strict=True)
    ]
    common = [(words_for(name).label, _cell(table[name].iloc[0], words_for(name).decimals).text) for name in same]
    return SitesTable(tuple(headings), tuple(zip(*columns, strict=True)), tuple(common))


def _cell(value: Any, decimals: int | None) -> Cell:
    if pd.isna(value):
        return Cell("–", float("-inf"))
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return Cell(str(value), None)
    number = float(value)
    if decimals is None and number.is_integer():
        return Cell(f"{int(number)}", number)
    return Cell(_digits(number, 3 if decimals is None else decimals), number)


def _digits(number: float, decimals: int) -> str:
    """A small number keeps a digit, down to 0.0001: a spread of 0.0003 is not none."""
    if not 0 < abs(number) < 0.5 * 10**-decimals:
        return f"{number:.{decimals}f}"
    return f"{number:.1g}" if abs(number) >= 0.0001 else "< 0.0001"
