"""The command line: thin over the Python API, and quick to answer because torch waits until it is needed."""

import typer

from se_probe.cli import ablation, fold, lookup, rework, runs
from se_probe.cli.app import app
from se_probe.errors import SeProbeError

__all__ = ["ablation", "app", "fold", "lookup", "main", "rework", "runs"]


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
