"""Draw the figures of a run again, without the network."""

from __future__ import annotations

from pathlib import Path

from se_probe.recording import open_recording
from se_probe.runs.change_result import draw_changes, is_change_run, open_change_run
from se_probe.runs.draw import draw
from se_probe.runs.presets import DEFAULT_CHANNELS
from se_probe.runs.scale_result import draw_scales, is_scale_run, open_scale_run
from se_probe.runs.settings import PlotSettings
from se_probe.runs.verb import verb


@verb(PlotSettings)
def plot(settings: PlotSettings) -> list[Path]:
    """Draw the figures of a run again, without the network; of a scale experiment with its own choices.

    Returns:
        The files.

    Raises:
        SeProbeError: there is no run, it lacks a site or class, or the folder cannot be written.
    """
    run = Path(settings.run)
    if is_change_run(run):
        return draw_changes(open_change_run(run), settings.out or run)
    if is_scale_run(run):
        return draw_scales(open_scale_run(run), settings.out or run)
    recording = open_recording(run)
    return draw(
        recording,
        settings.out or recording.path.parent,
        sites=settings.sites,
        classes=settings.classes,
        channels=settings.channels or DEFAULT_CHANNELS,
        within=settings.within,
        seed=settings.seed,
    )
