"""The command line: thin over the Python API, and quick to answer because torch waits until it is needed."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from se_probe.errors import SeProbeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from se_probe.recording import Recording

app = typer.Typer(
    name="se-probe",
    help="Record and analyse the channel gates of squeeze-and-excitation, selective-kernel and split-attention "
    "networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Classes = Annotated[str, typer.Option(help="Classes to compare: indices, wnids or exact names, separated by commas.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="A timm name, torchvision:NAME, hf-hub:ORG/NAME, path/to/file.py:function or demo:se|sk|sa. "
        "Default: legacy_seresnet50, the weights nearest the paper (demo:se with --demo)."
    ),
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Weights: safetensors or a PyTorch state dict (nothing is unpickled).")
]
ModelArg = Annotated[
    list[str] | None, typer.Option("--model-arg", metavar="KEY=VALUE", help="Argument of the network's builder.")
]
Sites = Annotated[
    str | None,
    typer.Option(help="Sites in the figures. Default: the last of each stage and all of the last stage."),
]
Channels = Annotated[str, typer.Option(help='Number of channels in the figures, sampled uniformly, or "all".')]
Within = Annotated[
    str | None, typer.Option(help="Classes of the within-class figure. Default: goldfish,plane, else the first two.")
]
Seed = Annotated[int, typer.Option(help="Decides which images and which channels are taken.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.command()
def excite(
    classes: Classes = "goldfish,pug,plane,cliff",
    data: Annotated[
        str | None,
        typer.Option(
            envvar="SE_PROBE_DATA",
            help="Labelled images: a folder in any common layout, a .tar, or hfds/NAME, wds/PLACE ... as timm reads.",
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Use the bundled drawings and networks.")] = False,
    model: Model = None,
    checkpoint: Checkpoint = None,
    model_arg: ModelArg = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Untrained weights, drawn from --seed, to try things out.")
    ] = False,
    per_class: Annotated[int, typer.Option(help="Images of each chosen class, at the most.")] = 50,
    reference_per_class: Annotated[
        int | None,
        typer.Option(help="Images of every other class, for the curve of all classes. Default: as --per-class."),
    ] = None,
    seed: Seed = 0,
    sites: Sites = None,
    channels: Channels = "50",
    within: Within = None,
    batch_size: Annotated[int, typer.Option(help="Images in one forward pass.")] = 32,
    workers: Annotated[int | None, typer.Option(help="Processes that decode images. Default: a few.")] = None,
    device: Annotated[str | None, typer.Option(help="torch device. Default: an accelerator, if any.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run's folder under reports/.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder, in the place of reports/<name>.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that lies there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Record gates over images of some classes and draw the paper's "role of excitation"."""
    from se_probe.models import parse_model_args
    from se_probe.pipeline import excite as run

    console = Console(stderr=as_json, highlight=False, emoji=False)
    recording = run(
        classes,
        # The environment's data must not stand against an explicit --demo.
        data=None if demo and not _given("--data") else data,
        demo=demo,
        model=model,
        checkpoint=checkpoint,
        model_args=parse_model_args(model_arg or []),
        random_weights=random_weights,
        per_class=per_class,
        reference_per_class=reference_per_class,
        seed=seed,
        sites=_listed(sites),
        channels=_channels(channels),
        within=within,
        batch_size=batch_size,
        workers=workers,
        device=device,
        name=name,
        out=out,
        overwrite=overwrite,
        command=shlex.join(["se-probe", *sys.argv[1:]]),
        say=lambda line: console.print(line, markup=False, soft_wrap=True),
    )
    if as_json:
        _print_json(_run_facts(recording))
    else:
        console.print(_spread_table(recording))


@app.command()
def plot(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its recording.zarr.")],
    classes: Annotated[str | None, typer.Option(help="Classes to draw. Default: the chosen ones.")] = None,
    sites: Sites = None,
    channels: Channels = "50",
    within: Within = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Folder in which figures/ is made. Default: the run's.")] = None,
) -> None:
    """Draw the figures again from a recording, without the network."""
    from se_probe.pipeline import draw
    from se_probe.recording import open_recording

    recording = open_recording(run)
    folder = out or recording.path.parent
    for path in draw(
        recording,
        folder,
        sites=_listed(sites),
        classes=classes,
        channels=_channels(channels),
        within=within,
        seed=seed,
    ):
        typer.echo(f"wrote     {path}")


@app.command()
def gates(
    model: Annotated[str, typer.Argument(help="A network, named as in excite --model.")],
    model_arg: ModelArg = None,
    input_size: Annotated[
        int | None, typer.Option(help="Side of the square input. Default: from the network's configuration.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print where a network multiplies channels by gates. No weights are needed, and none are downloaded."""
    from se_probe.gates import discover, require_gates
    from se_probe.models import load_model, parse_model_args
    from se_probe.models.spec import parse_spec
    from se_probe.pipeline import describe_gates

    source, _ = parse_spec(model)
    untrained = source not in {"file", "demo"}
    loaded = load_model(model, model_args=parse_model_args(model_arg or []), random_weights=untrained)
    size = (loaded.input_size[0], input_size, input_size) if input_size else loaded.input_size
    discovery = discover(loaded.network, size)
    require_gates(loaded.name, discovery)
    if as_json:
        _print_json([site.to_dict() for site in discovery.sites])
        return
    columns = ("site", "module", "family", "stride", "channels", "branches", "activation", "r")
    rows = [
        (s.name, s.module, s.family, s.stride, s.channels, s.branches, s.activation, _ratio(s.reduction))
        for s in discovery.sites
    ]
    console = Console(highlight=False, emoji=False)
    console.print(_table(columns, rows, title=loaded.name))
    console.print(describe_gates(discovery), markup=False)


@app.command()
def models(
    pattern: Annotated[str | None, typer.Argument(help="Part of a name, or a pattern with * and ?.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the pretrained networks of timm and torchvision that have gates. Nothing is downloaded."""
    from se_probe.models.catalog import catalog

    console = Console(stderr=True, highlight=False, emoji=False)
    found = catalog(
        pattern,
        progress=lambda done, total, name: console.print(f"examining {name} ({done + 1} of {total})", markup=False),
    )
    if not found.entries:
        raise SeProbeError(
            f"no pretrained network with gates matches {pattern!r} ({found.without_gates} without gates do); "
            "try a shorter part of the name."
        )
    for name, reason in found.unexamined.items():
        console.print(f"not examined: {name}: {reason}", markup=False)
    if as_json:
        _print_json(
            [{"name": e.spec, "family": e.family, "gates": e.gates, "weights": list(e.weights)} for e in found.entries]
        )
        return
    rows = [(e.spec, e.family, e.gates, ", ".join(e.weights)) for e in found.entries]
    output = Console(highlight=False, emoji=False)
    output.print(_table(("network", "family", "gates", "weights"), rows))
    output.print(
        f"{len(rows)} networks with gates; {found.without_gates} others that match have none"
        f"{f', {len(found.unexamined)} could not be examined' if found.unexamined else ''}"
    )


@app.command("classes")
def resolve_classes(
    query: Annotated[str, typer.Argument(help="Indices, wnids or exact names, separated by commas.")],
    as_json: AsJson = False,
) -> None:
    """Show which ImageNet classes a name, index or wnid means."""
    from se_probe.labels import imagenet

    resolutions = imagenet().resolve_all(query)
    for note in [item.note for item in resolutions if item.note]:
        typer.echo(note, err=True)
    found = [item.image_class for item in resolutions]
    if as_json:
        _print_json([{"index": item.index, "wnid": item.wnid, "name": item.name} for item in found])
    else:
        rows = [(item.index, item.wnid, item.name, ", ".join(item.lemmas)) for item in found]
        Console(highlight=False, emoji=False).print(_table(("index", "wnid", "name", "reached by"), rows))


def _listed(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def _given(option: str) -> bool:
    return any(argument == option or argument.startswith(f"{option}=") for argument in sys.argv[1:])


def _channels(text: str) -> int | None:
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise SeProbeError(f'--channels is "{text}"; expected a number or "all".') from None


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    cells = [[escape(str(cell)) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = all(row[index].replace(".", "").replace("-", "").isdigit() for row in cells)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=index == 0)
    for row in cells:
        table.add_row(*row)
    return table


def _spread_table(recording: Recording) -> Table:
    """Sites with their means and spreads, the figures a reader looks at first."""
    from se_probe.analysis import site_table

    columns = {
        "mean": "mean",
        "channel_sd": "sd channels",
        "class_sd": "sd classes",
        "image_sd": "sd images",
        "lowest": "lowest",
        "highest": "highest",
    }
    rows = [
        (row["site"], row["channels"] * row["branches"], *(f"{row[name]:.3f}" for name in columns))
        for row in site_table(recording).to_dict("records")
    ]
    title = "Gates by site: mean, spread (sd), range of class means"
    return _table(("site", "channels", *columns.values()), rows, title=title)


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


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def main() -> None:
    """Run the command line: exit code 2 for a user's mistake, 1 for a defect."""
    try:
        app()
    except SeProbeError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        typer.echo("stopped; what was recorded so far is kept and marked as incomplete", err=True)
        raise SystemExit(130) from None
