"""Commands that look after recordings: verify and merge."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from se_probe.cli.app import app
from se_probe.cli.options import AsJson
from se_probe.cli.output import print_json


@app.command()
def verify(
    run: Annotated[Path, typer.Argument(help="A run's folder (of a scale experiment too), or a recording.zarr.")],
    as_json: AsJson = False,
) -> None:
    """Check a recording: checksums, counts, rows, and moments against gates. Exit code 1 where something is wrong."""
    from se_probe.recording.guard import root_attributes
    from se_probe.recording.run_folder import recording_at

    paths = sorted(run.glob("scale-*/recording.zarr")) or [run]
    for path in paths:
        root_attributes(recording_at(path))  # Where there is no recording, this says so before torch is imported.

    from se_probe.recording import verify as check

    found = [check(path) for path in paths]
    if as_json:
        print_json([item.to_dict() for item in found])
    for item in [] if as_json else found:
        for problem in item.problems:
            typer.echo(f"problem   {item.path}: {problem}")
        if item.sound:
            held = f"{item.images} images, {item.skipped} skipped, {item.arrays} arrays"
            typer.echo(f"sound     {item.path}: {held}; checksums, counts, rows and moments agree")
    if not all(item.sound for item in found):
        raise typer.Exit(1)


@app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more complete runs over disjoint images.")],
    out: Annotated[Path, typer.Option(help="Folder in which recording.zarr is made.")],
) -> None:
    """Join recordings of disjoint images, made on separate machines with the same network, weights and transform."""
    from se_probe.recording import merge as join

    recording = join(runs, out)
    typer.echo(f"merged    {len(runs)} recordings, {len(recording.images)} images of {len(recording.classes)} classes")
    typer.echo(f"wrote     {recording.path}")
    typer.echo(f"next      se-probe plot {shlex.quote(str(out))}, se-probe report {shlex.quote(str(out))}")
