"""Commands on public sets of images: which there are, and fetching one."""

from __future__ import annotations

from typing import Annotated

import typer

from se_probe.cli.app import app
from se_probe.cli.options import AsJson
from se_probe.cli.output import console, print_json, table

data_app = typer.Typer(help="Public sets of images, fetched when asked for and never otherwise.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="imagenetv2 or tiny-imagenet; se-probe data list shows all.")],
    variant: Annotated[
        str | None,
        typer.Option(help="Of imagenetv2: matched-frequency (the default), threshold-0.7 or top-images."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Another address of the same file; its checksum is compared all the same.")
    ] = None,
) -> None:
    """Download a public set into the cache (SE_PROBE_CACHE), so that --data takes its name."""
    from se_probe.images.public import fetch as run

    try:
        run(f"{name}:{variant}" if variant else name, url=url, say=lambda line: typer.echo(line, err=True))
    except KeyboardInterrupt:
        typer.echo("stopped; what is here is kept, and the same command resumes the download", err=True)
        raise SystemExit(130) from None


@data_app.command("list")
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
