"""Commands on classes and on public sets of images: what names mean, which sets there are, and fetching one."""

from __future__ import annotations

from typing import Annotated

import typer

from se_probe.cli.app import app
from se_probe.cli.commands import AsJson, with_examples
from se_probe.cli.help import Group
from se_probe.cli.output import table
from se_probe.cli.terminal import console, print_json, terminal

data_app = typer.Typer(
    cls=Group, help="Public sets of images, fetched when asked for and never otherwise.", no_args_is_help=True
)
app.add_typer(data_app, name="data")


@data_app.command(cls=with_examples(("se-probe data fetch imagenetv2",)))
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


@data_app.command("list", cls=with_examples(("se-probe data list",)))
def list_sets(as_json: AsJson = False) -> None:
    """Show the public sets: what they hold, their size and licence, and whether they are on this machine."""
    from se_probe.images.public import PUBLIC_SETS, readable_size, state_of

    states = {name: state_of(public) for name, public in PUBLIC_SETS.items()}
    if as_json:
        facts = ("name", "holds", "url", "size", "sha256", "licence")
        print_json(
            [
                {fact: getattr(public, fact) for fact in facts}
                | {"folder": str(state.folder) if (state := states[name]).folder else None, "begun": state.begun}
                for name, public in PUBLIC_SETS.items()
            ]
        )
        return
    rows = []
    for name, public in PUBLIC_SETS.items():
        state = states[name]
        begun = f"{readable_size(state.begun)} are here" if state.begun else "not fetched"
        rows.append((name, readable_size(public.size), public.holds, public.licence, state.folder or begun))
    console().print(table(("name", "download", "holds", "licence", "on this machine"), rows))


@app.command("classes", cls=with_examples(("se-probe classes goldfish,pug,plane,cliff",)))
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
