"""The section on interventions: what each one costs as a table in words, how it was measured, and its figures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from se_probe.analysis.outcomes import NLL, Cost, cost_of
from se_probe.figures import INTERVENTION_FIGURES
from se_probe.recording.run_folder import FIGURES, TABLES
from se_probe.report.figures import known_figures
from se_probe.report.section import Cell, Heading, PageTable, Section, sentence, with_limits

_MOST_NAMES = 2


class _Column(NamedTuple):
    """A measure with its interval; `limits` is the prefix of the columns with its limits."""

    label: str
    note: str
    value: str
    limits: str
    shape: str = "z.3f"
    factor: float = 1


_COLUMNS = (
    _Column("Top-1", "Change of top-1 accuracy in percentage points", "top1_change", "top1", "z.1f", 100),
    _Column("Top-5", "Change of top-5 accuracy in percentage points", "top5_change", "top5", "z.1f", 100),
    _Column("NLL", "Rise of the negative log-likelihood of the true class, in nats", "nll_change", "nll"),
    _Column(
        "KL", "Kullback–Leibler divergence of the untouched network's answer from the changed one, in nats", "kl", "kl"
    ),
    _Column("Same choice", "Images with the same first choice, in per cent", "agreement", "agreement", "z.1f", 100),
)
_SAVINGS = {
    "parameters_saved": ("Parameters", "Parameters of the gate paths that would no longer be needed"),
    "multiply_adds_saved": ("Multiply–adds", "Multiply–adds of the gate paths that would no longer be needed"),
}


def interventions_section(folder: Path) -> Section | None:
    """Return the section on the interventions of a run, None if there were none."""
    path = folder / TABLES / "ablation_sites.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(path, dtype={"gates_from": str}).fillna({"gates_from": ""})
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
    shown = PageTable(tuple(headings), tuple(rows), common, of_sites=False)
    figures = known_figures(folder / FIGURES, INTERVENTION_FIGURES)
    return Section("interventions", "Interventions", tuple(_words(table)), shown, figures)


def _own_column(cost: Cost) -> _Column:
    words = f"Change of {cost.in_unit} ({'lower' if cost.lower_is_better else 'higher'} is better)"
    return _Column(cost.in_unit, words, cost.change, cost.measure, "z.3g")


def _row(
    row: Mapping[Hashable, Any], columns: Sequence[_Column], savings: list[str], *, replacement: bool
) -> tuple[Cell, ...]:
    name, names = str(row["intervention"]), str(row["sites"]).split(",")
    sites = ", ".join(names) if len(names) <= _MOST_NAMES else f"{names[0]} … {names[-1]} ({len(names)})"
    return (
        Cell(name if sites in name else f"{name}: {sites}"),
        *([Cell(str(row["replacement"]))] if replacement else []),
        *(_estimate(row, column) for column in columns),
        _number(row["metric_p_holm" if "metric_p_holm" in row else "nll_p_holm"], "{:.2g}"),
        *(_number(row[name], "{:,.0f}") for name in savings),
    )


def _estimate(row: Mapping[Hashable, Any], column: _Column) -> Cell:
    value, low, high = (row[name] for name in (column.value, f"{column.limits}_ci_low", f"{column.limits}_ci_high"))
    text = with_limits(value, low, high, column.shape, column.factor)
    return Cell(text, float("-inf") if pd.isna(value) else float(column.factor * value))


def _number(value: float, digits: str) -> Cell:
    return Cell("–", float("-inf")) if pd.isna(value) else Cell(digits.format(value), float(value))


def _words(table: pd.DataFrame) -> list[str]:
    first = table.iloc[0]
    replacements = list(table["replacement"].unique())
    words = [
        f"Gates were replaced while the network ran ({', '.join(replacements)}): {len(table)} interventions, all on "
        f"the same {first['images']:,} images of {first['classes']:,} classes. Classes have equal weights.",
        *_levels(table),
        f"Intervals (95 %) are for another draw of images of these classes. {sentence(str(first['estimators']))}",
    ]
    if {"mean", "class-mean"} & set(replacements):
        source = first["gates_from"] or "an unnamed recording"
        words.append(f"The mean gates come from {source}.")
    if table["unchanged"].eq(table["images"]).any():
        what = "NLL and KL have" if cost_of(table) == NLL else f"{cost_of(table).name} has"
        words.append(f"Where nothing changed for any image, {what} no interval.")
    words.append("The network was not retrained after an intervention.")
    return words


def _levels(table: pd.DataFrame) -> list[str]:
    """Return the untouched network's performance in words, and the number of images it is measured on."""
    first, cost = table.iloc[0], cost_of(table)
    if cost != NLL:
        level = f"{_number(first['clean_metric'], '{:.4g}').text} {cost.unit}".rstrip()
        better = "lower" if cost.lower_is_better else "higher"
        return [
            f"The metric is {cost.name}, defined by the user ({better} is better), over {first['labelled']:,} images.",
            f"Untouched, it is {level}.",
        ]
    top1, top5 = (_number(100 * first[name], "{:.1f} %").text for name in ("clean_top1", "clean_top5"))
    return [
        f"Accuracy and NLL are over the {first['labelled']:,} images whose class has an output unit.",
        f"Untouched, top-1 is {top1}, top-5 {top5} and NLL {_number(first['clean_nll'], '{:.3f}').text}.",
    ]
