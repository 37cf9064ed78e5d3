"""Commands on existing recordings: plot, report, verify and merge."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from se_probe.cli.app import app
from se_probe.cli.commands import AsJson, OpenReport, Verbose, shows
from se_probe.cli.help import Command
from se_probe.cli.terminal import Terminal, open_page, print_json, terminal
from se_probe.io.progress import status
from se_probe.runs.settings import PlotSettings

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or its recording.zarr.")]


@shows(PlotSettings, "se-probe plot reports/demo-se --channels 10 --sites SE_5_2,SE_5_3")
def _plot(paths: list[Path], shown: Terminal) -> None:
    shown.line("wrote", f"{len(paths)} files in {paths[0].parent}")


@app.command(cls=Command, epilog="se-probe report reports/demo-se")
def report(
    run: Run,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Folder of the images, for thumbnails. Paths stored in the recording are never opened."
        ),
    ] = None,
    factors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV file of known factors of the images: a column path, and one column per factor."
        ),
    ] = None,
    verbose: Verbose = False,
    open_report: OpenReport = False,
) -> None:
    """Measure the gates of a recording, judge the papers' claims and write report.html, without the network."""
    with terminal(verbose=verbose), status("loading"):
        from se_probe.recording import open_recording
        from se_probe.runs.analyse import write_analysis
    with terminal(verbose=verbose):
        page = write_analysis(open_recording(run), data=data, factors=factors)
    open_page(page if open_report else None)


@app.command(cls=Command, epilog="se-probe verify reports/demo-se")
def verify(run: Run, as_json: AsJson = False) -> None:
    """Check a recording: checksums, counts, rows, and moments against gates. Exit code 1 if something is wrong."""
    from se_probe.recording.guard import root_attributes
    from se_probe.recording.run_folder import recording_at

    paths = sorted(run.glob("*-*/recording.zarr")) or [run]
    for path in paths:
        root_attributes(recording_at(path))  # refuse what is no recording before torch is imported

    from se_probe.recording import verify as check

    results = [check(path) for path in paths]
    if as_json:
        print_json([item.to_dict() for item in results])
    for item in [] if as_json else results:
        for problem in item.problems:
            typer.echo(f"problem   {item.path}: {problem}")
        if item.sound:
            contents = f"{item.images} images, {item.skipped} skipped, {item.arrays} arrays"
            typer.echo(f"sound     {item.path}: {contents}; checksums, counts, rows and moments agree")
    if not all(item.sound for item in results):
        raise typer.Exit(1)


@app.command(cls=Command, epilog="se-probe merge part-1 part-2 --out whole")
def merge(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of two or more complete runs over disjoint images.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder in which recording.zarr is made.")],
) -> None:
    """Join recordings of disjoint images, made on separate machines with the same network, weights and transform."""
    from se_probe.recording import merge as join

    recording = join(runs, out)
    typer.echo(f"merged    {len(runs)} recordings, {len(recording.images)} images of {len(recording.classes)} classes")
    typer.echo(f"wrote     {recording.path}")
    typer.echo(f"next      se-probe plot {shlex.quote(str(out))}, se-probe report {shlex.quote(str(out))}")
