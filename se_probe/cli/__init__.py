"""The command line: a thin layer over the Python API that imports torch only when needed."""

import io
import sys

import typer

from se_probe.cli import lookups, recordings, verbs
from se_probe.cli.app import app
from se_probe.errors import OtherRankError, SeProbeError, first_line

__all__ = ["app", "lookups", "main", "recordings", "verbs"]


def main() -> None:
    """Run the command line: exit code 2 for a user's mistake, 1 for a defect, 130 or 143 if it was stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name that the terminal cannot encode must not end a run.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except OtherRankError:
        raise SystemExit(2) from None
    except (SeProbeError, OSError, MemoryError) as error:
        typer.echo(f"error: {_sentence(error)}", err=True)
        raise SystemExit(2) from None


def _sentence(error: BaseException) -> str:
    """Describe an error in one sentence, with the file of a system error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    if isinstance(error, MemoryError):
        return f"memory ran out ({first_line(error)}); try a smaller --batch-size or fewer --workers."
    return str(error)
