"""The command line's application, to which the commands add themselves."""

from signal import SIGINT
from typing import Any

import typer
from typer.core import TyperGroup

from se_probe.errors import InterruptedRun

# As help lists them: recording, asking, looking after recordings, looking up.
_ORDER = [
    "excite",
    "ablate",
    "fold",
    "cost",
    "scale",
    "compare",
    "plot",
    "report",
    "verify",
    "merge",
    "gates",
    "models",
    "classes",
    "data",
]


class _Commands(TyperGroup):
    """Says what a command that is stopped leaves behind; typer by itself would stop without a word."""

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
    help="Record and analyse the channel gates of squeeze-and-excitation, selective-kernel and split-attention "
    "networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
