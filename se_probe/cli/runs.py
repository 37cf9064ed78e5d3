"""Commands that record: excite, and the scale experiment."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from se_probe.cli.app import app
from se_probe.cli.options import (
    AsJson,
    BatchSizeOrAuto,
    Channels,
    Checkpoint,
    Classes,
    Data,
    Demo,
    Device,
    Exact,
    Model,
    ModelArg,
    Name,
    Out,
    OutOrUrl,
    Overwrite,
    PerClass,
    RandomWeights,
    ReferencePerClass,
    Resume,
    Seed,
    Sites,
    Within,
    Workers,
    explicit,
    listed,
    number,
)
from se_probe.cli.output import console, print_json, table

if TYPE_CHECKING:
    from se_probe.recording import Recording


@app.command()
def excite(
    context: typer.Context,
    classes: Classes = None,
    data: Data = None,
    demo: Demo = False,
    model: Model = None,
    checkpoint: Checkpoint = None,
    model_arg: ModelArg = None,
    random_weights: RandomWeights = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="A paper's network, classes, sites and channels: senet, sknet or eca (sknet and eca in part from "
            "memory of the papers; the run says what is unconfirmed). What is given explicitly wins."
        ),
    ] = None,
    per_class: PerClass = 50,
    reference_per_class: ReferencePerClass = None,
    seed: Seed = 0,
    capture: Annotated[
        str, typer.Option(help="What to record: gate, and logit, squeeze or feature beside it, separated by commas.")
    ] = "gate",
    sites: Sites = None,
    channels: Channels = None,
    within: Within = None,
    batch_size: BatchSizeOrAuto = "32",
    workers: Workers = None,
    device: Device = None,
    record_sites: Annotated[str | None, typer.Option(help="Sites to record. Default: all.")] = None,
    exact: Exact = False,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the network (gates within 1e-5). Pays on long runs.")
    ] = False,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32 or bfloat16. Default: the network's own. How far gates move is measured."),
    ] = None,
    predictions: Annotated[
        bool, typer.Option(help="Keep what the network predicts; without, a pass ends after the last recorded site.")
    ] = True,
    device_decode: Annotated[
        bool,
        typer.Option("--device-decode", help="Decode JPEGs where the network runs. How far gates move is measured."),
    ] = False,
    name: Name = None,
    out: OutOrUrl = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    report: Annotated[bool, typer.Option(help="Measure the gates and write report.html.")] = True,
    as_json: AsJson = False,
) -> None:
    """Record gates over images of some classes and draw the paper's "role of excitation"."""
    from se_probe.models import parse_model_args
    from se_probe.recording import place_of_environment
    from se_probe.runs.excite import excite as run

    output = console(stderr=as_json)
    recording = run(
        classes,
        data=explicit(context, data, demo=demo),
        demo=demo,
        model=model,
        checkpoint=checkpoint,
        model_args=parse_model_args(model_arg or []),
        random_weights=random_weights,
        preset=preset,
        capture=listed(capture) or [],
        report=report,
        per_class=per_class,
        reference_per_class=reference_per_class,
        seed=seed,
        sites=listed(sites),
        channels=channels,
        within=within,
        batch_size=batch_size,
        workers=workers,
        device=device,
        record_sites=listed(record_sites),
        exact=exact,
        compile=compile,
        dtype=dtype,
        predictions=predictions,
        device_decode=device_decode,
        name=name,
        out=out,
        overwrite=overwrite,
        resume=resume,
        command=shlex.join(["se-probe", *sys.argv[1:]]),
        say=lambda line: output.print(line, markup=False, soft_wrap=True),
    )
    if place_of_environment()[0] > 0:
        return
    if as_json:
        print_json(_run_facts(recording))
    else:
        output.print(_spread_table(recording))


@app.command()
def scale(
    context: typer.Context,
    classes: Classes = None,
    data: Data = None,
    demo: Demo = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="As in excite. Default: skresnext50_32x4d, timm's network nearest SKNet-50 (demo:sk with --demo)."
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    model_arg: ModelArg = None,
    random_weights: RandomWeights = False,
    preset: Annotated[
        str, typer.Option(help="The paper whose network, classes and scales are taken where none are given.")
    ] = "sknet",
    scales: Annotated[
        str | None, typer.Option(help="Enlargements, separated by commas. Default: 1.0,1.5,2.0, as in the SKNet paper.")
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="crop: the centre, resized to the image's size (the paper's way as far as is known: unconfirmed); "
            "object: draw the object larger, with --demo."
        ),
    ] = "crop",
    per_class: PerClass = 50,
    reference_per_class: ReferencePerClass = None,
    seed: Seed = 0,
    batch_size: BatchSizeOrAuto = "32",
    workers: Workers = None,
    device: Device = None,
    exact: Exact = False,
    name: Name = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Record the same images at several scales and test whether attention moves to the larger kernel (SKNet)."""
    from se_probe.models import parse_model_args
    from se_probe.runs.scale import scale as run

    run(
        classes,
        data=explicit(context, data, demo=demo),
        demo=demo,
        model=model,
        checkpoint=checkpoint,
        model_args=parse_model_args(model_arg or []),
        random_weights=random_weights,
        preset=preset,
        scales=[number(item) for item in listed(scales) or []] or None,
        by=by,
        per_class=per_class,
        reference_per_class=reference_per_class,
        seed=seed,
        batch_size=batch_size,
        workers=workers,
        device=device,
        exact=exact,
        name=name,
        out=out,
        overwrite=overwrite,
        command=shlex.join(["se-probe", *sys.argv[1:]]),
        say=typer.echo,
    )


def _spread_table(recording: Recording) -> Table:
    """Sites with their means and spreads, the figures a reader looks at first."""
    from se_probe.analysis import site_table

    columns = {
        "mean": "mean",
        "channel_sd": "sd channels",
        "between_class_sd": "sd classes",
        "within_class_sd": "sd images",
        "lowest": "lowest",
        "highest": "highest",
    }
    rows = [
        (row["site"], row["channels"] * row["branches"], *(f"{row[name]:.3f}" for name in columns))
        for row in site_table(recording).to_dict("records")
    ]
    title = "Gates by site: mean, spread (sd), range of class means"
    return table(("site", "channels", *columns.values()), rows, title=title)


def _run_facts(recording: Recording) -> dict[str, Any]:
    folder = recording.path.parent
    return {
        "run": str(folder),
        "recording": str(recording.path),
        "sites": [site.name for site in recording.sites],
        "classes": recording.chosen,
        "images": len(recording.images),
        "skipped": len(recording.skipped),
        "files": sorted(str(path) for part in ("figures", "tables") for path in (folder / part).iterdir()),
    }
