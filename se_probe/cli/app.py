"""The command line's application, to which commands are added."""

from __future__ import annotations

from importlib.metadata import version
from signal import SIGINT
from typing import Annotated, Any

import typer

from se_probe.cli.help import Group
from se_probe.errors import InterruptedRun

# Order in the help: recording and measuring, commands on recordings, look-ups.
_ORDER = [
    "excite", "ablate", "maps", "fold", "change", "scale", "compare", "cost", "look", "plot", "report", "verify",
    "merge", "gates", "models", "classes", "data"
]  # fmt: skip


class _Commands(Group):
    """Prints how to resume an interrupted command; typer alone exits silently."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            typer.echo(str(error) or "stopped", err=True)
            raise typer.Exit(128 + (error.signal if isinstance(error, InterruptedRun) else SIGINT)) from None


app = typer.Typer(
    name="se-probe",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"se-probe {version('se-probe')}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Record and analyse the channel gates of squeeze-and-excitation, selective-kernel and split-attention networks."""
