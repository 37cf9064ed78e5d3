"""Draw the figures of a run again, without the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from se_probe.recording import open_recording
from se_probe.recording.run_folder import RunFolder
from se_probe.runs import change, scale
from se_probe.runs.artifacts import Artifacts
from se_probe.runs.conditions import Parts
from se_probe.runs.draw import curves_drawn
from se_probe.runs.options import verb
from se_probe.runs.presets import DEFAULT_CHANNELS
from se_probe.runs.settings import PlotSettings


@verb(PlotSettings)
def plot(settings: PlotSettings) -> list[Path]:
    """Draw the figures of a run again, without the network; of a scale experiment with its own choices.

    Returns:
        The files.

    Raises:
        SeProbeError: there is no run, it lacks a site or class, or the folder cannot be written.
    """
    run = Path(settings.run)
    for prefix, open_run in ((change.PREFIX, change.open_change_run), (scale.PREFIX, scale.open_scale_run)):
        if Parts(RunFolder(run), prefix).stores():
            return Artifacts(Path(settings.out or run)).figures(open_run(run).drawn())
    recording = open_recording(run)
    shown = replace(settings, channels=settings.channels or DEFAULT_CHANNELS)
    return Artifacts(Path(settings.out or recording.path.parent)).figures(curves_drawn(recording, shown))
