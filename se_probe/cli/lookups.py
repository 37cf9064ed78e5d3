"""Commands that look something up: gates of a network, networks with gates, classes, public sets of images."""

from __future__ import annotations

from typing import Annotated

import typer

from se_probe.cli.app import app
from se_probe.cli.commands import AsJson
from se_probe.cli.help import Command, Group
from se_probe.cli.terminal import console, number, print_json, table, terminal
from se_probe.errors import SeProbeError
from se_probe.runs.shared_settings import ArchitectureSettings

_HELP = {item.name: item.help for item in ArchitectureSettings.options()}


@app.command(cls=Command, epilog="se-probe gates demo:sk\nse-probe gates efficientnet_b0 --json")
def gates(
    model: Annotated[str, typer.Argument(metavar="NAME", help="A network, named as in excite --model.")],
    model_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=_HELP["model_args"])] = None,
    input_size: Annotated[int | None, typer.Option(metavar="N", help=_HELP["input_size"])] = None,
    as_json: AsJson = False,
) -> None:
    """Print where a network multiplies channels by gates. No weights are needed, and none are downloaded."""
    from se_probe.gates import discover, require_gates
    from se_probe.models import load_architecture, parse_model_args
    from se_probe.runs.plan import describe_gates

    settings = ArchitectureSettings(model_args=parse_model_args(model_arg or []), input_size=input_size)
    loaded = load_architecture(model, model_args=settings.model_args)
    size = (loaded.input_size[0], input_size, input_size) if input_size else loaded.input_size
    discovery = discover(loaded.network, size)
    require_gates(loaded.name, discovery)
    if as_json:
        print_json([site.to_dict() for site in discovery.sites])
        return
    columns = ("site", "module", "family", "stride", "channels", "branches", "activation", "r")
    rows = [
        (s.name, s.module, s.family, s.stride, s.channels, s.branches, s.activation, number(s.reduction, ".4g"))
        for s in discovery.sites
    ]
    output = console()
    output.print(table(columns, rows, title=loaded.name))
    output.print(describe_gates(discovery), markup=False)
    for item in discovery.left_out:
        output.print(str(item), markup=False)


@app.command(cls=Command, epilog="se-probe models\nse-probe models skres")
def models(
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="Part of a name, or a pattern with * and ?.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the pretrained networks of timm and torchvision that have gates. Nothing is downloaded."""
    from se_probe.models.catalog import catalog

    found = catalog(pattern)
    if not found.entries:
        raise SeProbeError(
            f"no pretrained network with gates matches {pattern!r} ({found.without_gates} without gates do); "
            "try a shorter part of the name."
        )
    for name, reason in found.unexamined.items():
        console(stderr=True).print(f"not examined: {name}: {reason}", markup=False)
    if as_json:
        print_json(
            [{"name": e.spec, "family": e.family, "gates": e.gates, "weights": list(e.weights)} for e in found.entries]
        )
        return
    rows = [(e.spec, e.family, e.gates, ", ".join(e.weights)) for e in found.entries]
    output = console()
    output.print(table(("network", "family", "gates", "weights"), rows))
    output.print(
        f"{len(rows)} networks with gates; {found.without_gates} others that match have none"
        f"{f', {len(found.unexamined)} could not be examined' if found.unexamined else ''}"
    )


data_app = typer.Typer(
    cls=Group, help="Public sets of images, fetched when asked for and never otherwise.", no_args_is_help=True
)
app.add_typer(data_app, name="data")


@data_app.command(cls=Command, epilog="se-probe data fetch imagenetv2")
def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="imagenetv2 or tiny-imagenet; se-probe data list shows all.")
    ],
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of imagenetv2: matched-frequency (the default), threshold-0.7 or top-images."
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Another address of the same file; its checksum is compared all the same."),
    ] = None,
) -> None:
    """Download a public set into the cache (SE_PROBE_CACHE), so that --data takes its name."""
    from se_probe.images.public import fetch as run

    try:
        with terminal():
            run(f"{name}:{variant}" if variant else name, url=url)
    except KeyboardInterrupt:
        typer.echo("stopped; what is here is kept, and the same command resumes the download", err=True)
        raise SystemExit(130) from None


@data_app.command("list", cls=Command, epilog="se-probe data list")
def list_sets(as_json: AsJson = False) -> None:
    """Show the public sets: what they hold, their size and licence, and whether they are on this machine."""
    from se_probe.images.public import PUBLIC_SETS, readable_size, state_of

    facts, rows = [], []
    for name, public in PUBLIC_SETS.items():
        state = state_of(public)
        known = {key: getattr(public, key) for key in ("name", "holds", "url", "size", "sha256", "licence")}
        facts.append({**known, "folder": str(state.folder) if state.folder else None, "begun": state.begun})
        begun = f"{readable_size(state.begun)} are here" if state.begun else "not fetched"
        rows.append((name, readable_size(public.size), public.holds, public.licence, state.folder or begun))
    if as_json:
        print_json(facts)
    else:
        console().print(table(("name", "download", "holds", "licence", "on this machine"), rows))


@app.command("classes", cls=Command, epilog="se-probe classes goldfish,pug,plane,cliff")
def resolve_classes(
    query: Annotated[str, typer.Argument(metavar="NAMES", help="Indices, wnids or exact names, separated by commas.")],
    as_json: AsJson = False,
) -> None:
    """Show which ImageNet classes a name, index or wnid means."""
    from se_probe.labels import imagenet

    resolutions = imagenet().resolve_all(query)
    for note in [item.note for item in resolutions if item.note]:
        typer.echo(note, err=True)
    found = [item.image_class for item in resolutions]
    if as_json:
        print_json([{"index": item.index, "wnid": item.wnid, "name": item.name} for item in found])
    else:
        rows = [(item.index, item.wnid, item.name, ", ".join(item.lemmas)) for item in found]
        console().print(table(("index", "wnid", "name", "reached by"), rows))
