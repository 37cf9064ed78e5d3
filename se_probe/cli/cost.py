"""The command that says what the gates of a network cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from se_probe.cli.app import app
from se_probe.cli.options import AsJson, Device, ModelArg, listed
from se_probe.cli.output import console, print_json, table
from se_probe.errors import SeProbeError

if TYPE_CHECKING:
    from se_probe.costs import GateCost, NetworkCost
    from se_probe.runs.cost import CostReport


@app.command()
def cost(
    model: Annotated[str, typer.Argument(help="A network, named as in excite --model.")],
    model_arg: ModelArg = None,
    input_size: Annotated[
        int | None, typer.Option(help="Side of the square input. Default: from the network's configuration.")
    ] = None,
    reductions: Annotated[str, typer.Option(help="Reduction ratios r to sweep, separated by commas.")] = "4,8,16,32",
    time: Annotated[
        bool, typer.Option("--time/--no-time", help="Measure the share of run time, in pairs, on this machine.")
    ] = True,
    time_by: Annotated[
        str, typer.Option(help="all gates together, or beside them each stage or each site alone.")
    ] = "all",
    rounds: Annotated[int, typer.Option(help="How often every variant is timed, at least 15.")] = 25,
    batch_size: Annotated[int, typer.Option(help="Images in a batch that is timed.")] = 1,
    device: Device = None,
    out: Annotated[Path | None, typer.Option(help="Folder for figures with their CSV, and cost.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the gates of a network cost: parameters, operations, run time. No weights are downloaded."""
    from se_probe.models import parse_model_args
    from se_probe.runs.cost import cost as run

    report = run(
        model,
        model_args=parse_model_args(model_arg or []),
        input_size=input_size,
        reductions=_ratios(reductions),
        time=time,
        time_by=time_by,  # type: ignore[arg-type]  # checked there
        rounds=rounds,
        batch_size=batch_size,
        device=device,
        out=out,
    )
    if as_json:
        print_json(report.to_dict())
        return
    output = console()
    output.print(_sites(report))
    if len(report.sweep):
        output.print()
        output.print(_sweep(report))
    output.print()
    for sentence in report.sentences():
        output.print(sentence, markup=False, soft_wrap=True)
    for path in report.files:
        output.print(f"wrote     {path}", markup=False, soft_wrap=True)


def _ratios(text: str) -> list[int]:
    ratios = listed(text) or []
    for ratio in ratios:
        if not ratio.isdecimal():
            raise SeProbeError(f'"{ratio}" is no reduction ratio; expected whole numbers such as 4,8,16,32.')
    return [int(ratio) for ratio in ratios]


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
