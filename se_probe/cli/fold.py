"""The command that folds static gates."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated, Any

import typer

from se_probe.cli.app import app
from se_probe.cli.options import (
    AsJson,
    BatchSize,
    Checkpoint,
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
    Seed,
    Workers,
    explicit,
    listed,
)
from se_probe.cli.output import console, print_json, table

NOTHING_FOLDED = 3


@app.command()
def fold(
    context: typer.Context,
    data: Data = None,
    demo: Demo = False,
    model: Model = None,
    checkpoint: Checkpoint = None,
    model_arg: ModelArg = None,
    random_weights: RandomWeights = False,
    max_loss: Annotated[
        float, typer.Option(help="Allowed loss of top-1 accuracy in percentage points (of agreement, without labels).")
    ] = 0.5,
    sites: Annotated[str | None, typer.Option(help="Fold these sites, and search for none.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Classes whose images are taken. Default: all of the data.")
    ] = None,
    per_class: PerClass = 50,
    seed: Seed = 0,
    batch_size: BatchSize = 32,
    workers: Workers = None,
    device: Device = None,
    name: Name = None,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Replace gates that hardly move by constants, fold these into neighbouring layers, and save the network.

    Exits with 3 where nothing can be folded within the allowed loss, which the run says and explains.
    """
    from se_probe.models import parse_model_args
    from se_probe.runs.fold import fold as run

    output = console(stderr=as_json)
    result = run(
        data=explicit(context, data, demo=demo),
        demo=demo,
        model=model,
        checkpoint=checkpoint,
        model_args=parse_model_args(model_arg or []),
        random_weights=random_weights,
        max_loss=max_loss,
        sites=listed(sites),
        classes=classes,
        per_class=per_class,
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
    if as_json:
        facts: dict[str, Any] = {"run": str(result.path), "folded": str(result.folder) if result.folder else None}
        print_json({**facts, "fixed": result.fixed, **result.facts["fold"], "sites": result.sites.to_dict("records")})
    else:
        rows = [
            (row["site"], f"{row['image_sd']:.4f}", row["how"], row["layers"], row["reason"])
            for row in result.sites.to_dict("records")
        ]
        output.print(table(("site", "sd images", "how", "layers", "reason"), rows, title="Sites by staticness"))
    if result.folder is None:
        raise typer.Exit(NOTHING_FOLDED)
