"""The command that replaces gates and measures what that costs."""

from __future__ import annotations

import json
import shlex
import sys
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from se_probe.cli.app import app
from se_probe.cli.options import (
    AsJson,
    BatchSize,
    Checkpoint,
    Classes,
    Data,
    Demo,
    Device,
    Model,
    ModelArg,
    Name,
    Out,
    Overwrite,
    PerClass,
    RandomWeights,
    ReferencePerClass,
    Seed,
    Workers,
    explicit,
    listed,
)
from se_probe.cli.output import console, print_json, table

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


@app.command()
def ablate(
    context: typer.Context,
    classes: Classes = None,
    replacement: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="REPLACEMENT",
            help="What stands in the place of gates: identity (1, or 1/M for M branches), mean (the site's mean gate), "
            "class-mean, shuffle (another image's gates), swap:A,B (the other class's), scale:FACTOR, branch:NUMBER.",
        ),
    ] = "identity",
    sites: Annotated[
        str | None,
        typer.Option(
            help="each, cumulative (from the last site backwards), stages; or names of sites, changed at once. "
            "Default: each,cumulative,stages."
        ),
    ] = None,
    gates_from: Annotated[
        Path | None, typer.Option(help="A run of the same network whose recording gives the means.")
    ] = None,
    data: Data = None,
    demo: Demo = False,
    model: Model = None,
    checkpoint: Checkpoint = None,
    model_arg: ModelArg = None,
    random_weights: RandomWeights = False,
    per_class: PerClass = 50,
    reference_per_class: ReferencePerClass = None,
    seed: Seed = 0,
    batch_size: BatchSize = 32,
    workers: Workers = None,
    device: Device = None,
    name: Name = None,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Replace gates while the network runs and measure what that costs in accuracy, on the same images."""
    import pandas as pd

    from se_probe.models import parse_model_args
    from se_probe.runs.ablate import ablate as run

    output = console(stderr=as_json)
    ablation = run(
        classes,
        replacement=replacement,
        sites=listed(sites),
        gates_from=gates_from,
        data=explicit(context, data, demo=demo),
        demo=demo,
        model=model,
        checkpoint=checkpoint,
        model_args=parse_model_args(model_arg or []),
        random_weights=random_weights,
        per_class=per_class,
        reference_per_class=reference_per_class,
        seed=seed,
        batch_size=batch_size,
        workers=workers,
        device=device,
        name=name,
        out=out,
        overwrite=overwrite,
        command=shlex.join(["se-probe", *sys.argv[1:]]),
        say=lambda line: output.print(line, markup=False, soft_wrap=True),
    )
    rows = pd.read_csv(ablation.path.parent / "tables" / "ablation_sites.csv")
    if as_json:
        print_json({"run": str(ablation.path.parent), "interventions": json.loads(rows.to_json(orient="records"))})
    else:
        output.print(_costs(rows))


def _costs(rows: pd.DataFrame) -> Table:
    """What each intervention costs, with 95 % limits."""
    columns = ("intervention", "top-1, points", "NLL, nats", "same choice, %")
    cells = [
        (
            row["intervention"],
            _limited(row["top1_change"], row["top1_ci_low"], row["top1_ci_high"], 100, "+z.1f"),
            _limited(row["nll_change"], row["nll_ci_low"], row["nll_ci_high"], 1, "+z.3f"),
            _limited(row["agreement"], row["agreement_ci_low"], row["agreement_ci_high"], 100, ".1f"),
        )
        for row in rows.to_dict("records")
    ]
    first = rows.iloc[0]
    clean = "" if isnan(first["clean_top1"]) else f"; untouched: top-1 {100 * first['clean_top1']:.1f} %"
    title = f"{first['replacement']}, {first['images']} images [95 % interval]{clean}"
    return table(columns, cells, title=title)


def _limited(value: float, low: float, high: float, factor: float, shape: str) -> str:
    if isnan(value):
        return "–"
    limits = "" if isnan(low) else f" [{factor * low:{shape}}, {factor * high:{shape}}]"
    return f"{factor * value:{shape}}{limits}"
