"""The command line: thin over the Python API, and quick to answer because torch waits until it is needed."""

import io
import sys

import typer

from se_probe.cli import ablation, cost, data, fold, lookup, rework, runs, upkeep
from se_probe.cli.app import app
from se_probe.errors import OtherRankError, SeProbeError

__all__ = ["ablation", "app", "cost", "data", "fold", "lookup", "main", "rework", "runs", "upkeep"]


def main() -> None:
    """Run the command line: exit code 2 for a user's mistake, 1 for a defect, 130 or 143 where it was stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names may hold what a terminal's encoding lacks; showing them must not end a run.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except OtherRankError:
        raise SystemExit(2) from None
    except SeProbeError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
