"""The section on interventions: what each one costs as a table in words, how it was measured, and its figures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from se_probe.analysis.outcomes import NLL, Cost, cost_of
from se_probe.report.figures import ReportFigure, intervention_figures
from se_probe.report.sites_table import Cell, Heading

TABLE = "tables/ablation_sites.csv"
PER_CENT = 100.0
_MOST_NAMES = 2
_MEANS = ("mean", "class-mean")


@dataclass(frozen=True)
class _Column:
    """A measure with its interval: heading, what it means, its columns, factor, and decimals or significant digits."""

    label: str
    note: str
    value: str
    limits: str
    factor: float = 1.0
    decimals: int = 3
    significant: bool = False


_COLUMNS = (
    _Column("Top-1", "Change of top-1 accuracy in percentage points", "top1_change", "top1", PER_CENT, 1),
    _Column("Top-5", "Change of top-5 accuracy in percentage points", "top5_change", "top5", PER_CENT, 1),
    _Column("NLL", "Rise of the negative log-likelihood of the true class, in nats", "nll_change", "nll"),
    _Column(
        "KL", "Kullback–Leibler divergence of the untouched network's answer from the changed one, in nats", "kl", "kl"
    ),
    _Column("Same choice", "Images with the same first choice, in per cent", "agreement", "agreement", PER_CENT, 1),
)
_SAVINGS = {
    "parameters_saved": ("Parameters", "Parameters of the gate paths that would no longer be needed"),
    "multiply_adds_saved": ("Multiply–adds", "Multiply–adds of the gate paths that would no longer be needed"),
}


@dataclass(frozen=True)
class Interventions:
    """What the section shows.

    Attributes:
        headings: of the table's columns.
        rows: one an intervention.
        common: label and value of what is the same in every row, which has no column.
        words: how it was measured, a sentence each.
        figures: in the order in which they are shown.
    """

    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    common: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    figures: tuple[ReportFigure, ...]


def read_interventions(folder: Path) -> Interventions | None:
    """Read the interventions of a run from its folder; None where there were none."""
    if not (folder / TABLE).is_file():
        return None
    table = pd.read_csv(folder / TABLE, dtype={"gates_from": str}).fillna({"gates_from": ""})
    savings = [name for name in _SAVINGS if name in table and table[name].notna().any()]
    one = table["replacement"].nunique() == 1
    cost = cost_of(table)
    columns = _COLUMNS if cost == NLL else (_own_column(cost),)
    headings = [
        Heading("Sites replaced", "", False),
        *([] if one else [Heading("Gates become", "Replacement of the gates", False)]),
        *(Heading(column.label, f"{column.note}, with its 95 % interval", True) for column in columns),
        Heading("p", f"Of no change of {cost.name}: paired sign-flip test, Holm's adjustment over sites alone", True),
        *(Heading(*_SAVINGS[name], True) for name in savings),
    ]
    rows = [_row(row, columns, savings, replacement=not one) for row in table.to_dict("records")]
    common = (("gates become", str(table["replacement"].iloc[0])),) if one else ()
    figures = intervention_figures(folder / "figures")
    return Interventions(tuple(headings), tuple(rows), common, tuple(_words(table)), tuple(figures))


def _own_column(cost: Cost) -> _Column:
    better = "less" if cost.lower_is_better else "more"
    words = f"Change of {cost.in_unit}, of which {better} is better"
    return _Column(cost.in_unit, words, cost.change, cost.measure, significant=True)


def _row(
    row: Mapping[Hashable, Any], columns: Sequence[_Column], savings: list[str], *, replacement: bool
) -> tuple[Cell, ...]:
    name, sites = str(row["intervention"]), _sites(str(row["sites"]))
    return (
        Cell(name if sites in name else f"{name}: {sites}", None),
        *([Cell(str(row["replacement"]), None)] if replacement else []),
        *(_with_limits(row, column) for column in columns),
        _number(row["metric_p_holm" if "metric_p_holm" in row else "nll_p_holm"], "{:.2g}"),
        *(_number(row[name], "{:,.0f}") for name in savings),
    )


def _sites(sites: str) -> str:
    """Few sites by name, of more the first and the last."""
    names = sites.split(",")
    return ", ".join(names) if len(names) <= _MOST_NAMES else f"{names[0]} … {names[-1]} ({len(names)})"


def _with_limits(row: Mapping[Hashable, Any], column: _Column) -> Cell:
    low, high = (column.factor * row[f"{column.limits}_ci_{end}"] for end in ("low", "high"))
    digits = f"{{:z.{column.decimals}{'g' if column.significant else 'f'}}}"
    cell = _number(column.factor * row[column.value], digits)
    if pd.isna(low) or pd.isna(high):
        return cell
    return Cell(f"{cell.text} [{digits.format(low)}, {digits.format(high)}]", cell.key)


def _number(value: float, digits: str) -> Cell:
    return Cell("–", float("-inf")) if pd.isna(value) else Cell(digits.format(value), float(value))


def _words(table: pd.DataFrame) -> list[str]:
    first = table.iloc[0]
    replacements = list(table["replacement"].unique())
    words = [
        f"Gates were replaced while the network ran ({', '.join(replacements)}): {len(table)} interventions, all on "
        f"the same {first['images']:,} images of {first['classes']:,} classes. Every class weighs the same.",
        *_levels(table),
        f"Intervals, 95 %, are for other images of these classes. {_capital(first['estimators'])}.",
    ]
    if any(kind in _MEANS for kind in replacements):
        source = first["gates_from"] or "a recording that is not stated"
        words.append(f"The mean gates that were put in come from {source}.")
    if table["unchanged"].eq(table["images"]).any():
        what = "NLL and KL have" if cost_of(table) == NLL else f"{cost_of(table).name} has"
        words.append(f"Where nothing changed for any image, {what} no interval.")
    words.append("The network was not trained again after an intervention.")
    return words


def _levels(table: pd.DataFrame) -> list[str]:
    """What the untouched network does, and on how many images that is measured."""
    first, cost = table.iloc[0], cost_of(table)
    if cost == NLL:
        return [
            f"Accuracy and NLL are over the {first['labelled']:,} images for whose class the network has a unit.",
            f"Untouched, top-1 is {_number(100 * first['clean_top1'], '{:.1f} %').text}, top-5 "
            f"{_number(100 * first['clean_top5'], '{:.1f} %').text} and NLL "
            f"{_number(first['clean_nll'], '{:.3f}').text}.",
        ]
    level = f"{_number(first['clean_metric'], '{:.4g}').text} {cost.unit}".rstrip()
    return [
        f"Measured is {cost.name}, the user's own, of which {'less' if cost.lower_is_better else 'more'} is better, "
        f"over {first['labelled']:,} images. Untouched, it is {level}.",
    ]


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
