"""The command that says what the gates of a network cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from se_probe.cli.commands import AsJson, add_verb
from se_probe.cli.output import table
from se_probe.cli.terminal import Terminal, print_json
from se_probe.runs.settings import CostSettings

if TYPE_CHECKING:
    from se_probe.costs import GateCost, NetworkCost
    from se_probe.runs.cost import CostReport


def _told(report: CostReport, shown: Terminal) -> None:
    if shown.as_json:
        print_json(report.to_dict())
        return
    shown.print(_sites(report))
    if len(report.sweep):
        shown.print("")
        shown.print(_sweep(report))
    shown.print("")
    for sentence in report.sentences():
        shown.print(sentence)


def _sites(report: CostReport) -> Table:
    columns = ("site", "C", "r", "2C²/r", "parameters", "share", "squeeze", "excitation", "scale", "share")
    rows = [
        (
            row["site"],
            f"{row['branches']}×{row['channels']}" if row["branches"] > 1 else row["channels"],
            _number(row["reduction"], ".4g"),
            _number(row["formula_parameters"]),
            *_costs(report.cost, item),
        )
        for row, item in zip(report.table().to_dict("records"), report.cost.site_costs, strict=True)
    ]
    total = ("all", "", "", _number(report.cost.formula_parameters), *_costs(report.cost, report.cost.gates))
    return table(columns, [*rows, total], title=f"{report.name}: gates, and their share of the network")


def _costs(network: NetworkCost, item: GateCost) -> Iterator[str]:
    yield _number(item.parameters)
    yield f"{100 * item.parameters / network.parameters:.2f} %"
    for part in (item.squeeze, item.excitation, item.scale):
        yield _number(part)
    yield f"{100 * item.operations / network.operations:.2f} %"


def _sweep(report: CostReport) -> Table:
    columns = ("r", "gates", "(2/r) Σ C²", "network", "increase", "multiply-adds", "operations increase")
    rows = [
        (
            row["reduction"],
            _number(row["gate_parameters"]),
            _number(row["formula_parameters"]),
            _number(row["parameters"]),
            f"+{100 * row['parameters_increase']:.2f} %",
            _number(row["multiply_adds"]),
            f"+{100 * row['operations_increase']:.2f} %",
        )
        for row in report.sweep.to_dict("records")
    ]
    swept, sites = int(report.sweep["sites"].iloc[0]), len(report.cost.sites)
    own = ", ".join(f"{ratio:g}" for ratio in report.sweep.loc[report.sweep["current"], "reduction"])
    title = f"By reduction ratio r, {swept} of {sites} sites" + f"; the network's own is {own}" * bool(own)
    return table(columns, rows, title=title)


def _number(value: float | None, form: str = ",.0f") -> str:
    return "–" if value is None or value != value else format(value, form)


add_verb(
    CostSettings,
    "runs.cost",
    _told,
    examples=("se-probe cost demo:se", "se-probe cost legacy_seresnet50 --no-time --reductions 4,16"),
    as_json=AsJson,
)
