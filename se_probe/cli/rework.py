"""Commands on recordings that are there already: plot, report and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from se_probe.cli.app import app
from se_probe.cli.options import (
    Channels,
    Out,
    Overwrite,
    Seed,
    Sites,
    Within,
    listed,
)


@app.command()
def plot(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its recording.zarr.")],
    classes: Annotated[str | None, typer.Option(help="Classes to draw. Default: the chosen ones.")] = None,
    sites: Sites = None,
    channels: Channels = None,
    within: Within = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Folder in which figures/ is made. Default: the run's.")] = None,
) -> None:
    """Draw the figures of a run again, without the network; of a scale experiment with its own choices."""
    from se_probe.recording import open_recording
    from se_probe.runs.draw import draw
    from se_probe.runs.scale_result import draw_scales, is_scale_run, open_scale_run

    if is_scale_run(run):
        paths = draw_scales(open_scale_run(run), out or run)
    else:
        recording = open_recording(run)
        options: dict[str, Any] = {"sites": listed(sites), "classes": classes, "within": within, "seed": seed}
        paths = draw(recording, out or recording.path.parent, channels=channels or 50, **options)
    for path in paths:
        typer.echo(f"wrote     {path}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its recording.zarr.")],
    data: Annotated[
        str | None, typer.Option(help="Where the images lie now, if not where they were recorded (for thumbnails).")
    ] = None,
) -> None:
    """Measure the gates of a recording, judge the paper's claims and write report.html, without the network."""
    from se_probe.recording import open_recording
    from se_probe.runs.excite import write_analysis

    write_analysis(open_recording(run), data=data, say=typer.echo)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more runs over the same images.")],
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Put networks side by side by relative depth: specificity, saturation and similarity of representation."""
    from se_probe.runs.compare import compare as run

    run(runs, out=out, overwrite=overwrite, say=typer.echo)
