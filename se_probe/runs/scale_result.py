"""A scale experiment that was recorded: its verdicts, tables and figures, without the network."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.branches import branch_tables, has_branches
from se_probe.analysis.scale import (
    class_units,
    class_values,
    example_values,
    has_larger_kernel,
    image_values,
    response,
)
from se_probe.analysis.shifts import overall_shifts, shift_sentences, shift_tests
from se_probe.errors import SeProbeError
from se_probe.figures import model_line, scale_classes, scale_images, scale_response
from se_probe.recording import Recording, open_recording
from se_probe.recording.guard import is_incomplete
from se_probe.runs.artifacts import Artifacts, Drawn
from se_probe.runs.conditions import THUMBNAILS, read_thumbnails
from se_probe.runs.settings import SCALE_METHODS


@dataclass(frozen=True)
class ScaleRun:
    """A scale experiment: its recordings, smallest scale first, and pictures of some images at each scale.

    Attributes:
        path: the run's folder.
        by: "crop" or "object".
        recordings: scale → recording of the same images.
        thumbnails: (path, scale) → picture `(side, side, 3)`, uint8, of the images of the figure.
    """

    path: Path
    by: str
    recordings: Mapping[float, Recording]
    thumbnails: Mapping[tuple[str, float], NDArray[np.uint8]]

    @property
    def base(self) -> Recording:
        """The recording at the smallest scale."""
        return self.recordings[min(self.recordings)]

    @cached_property
    def values(self) -> pd.DataFrame:
        """One row a scale, site and image (`image_values`)."""
        return image_values(self.recordings)

    @cached_property
    def tests(self) -> pd.DataFrame:
        """Whether attention or gates move, for every site and pair of scales (`shift_tests`)."""
        return shift_tests(self.values, seed=self.base.provenance["data"]["seed"])

    def __repr__(self) -> str:
        scales = ", ".join(f"{item:g}×" for item in self.recordings)
        about = f"<se_probe.ScaleRun {self.path}: {scales}, {SCALE_METHODS[self.by]}>"
        return "\n  ".join([about, *shift_sentences(overall_shifts(self.tests))])

    def _repr_html_(self) -> str:
        """Show in a notebook what was run and the verdicts from the smallest to the largest scale."""
        base = self.base
        scales = ", ".join(f"{scale:g}×" for scale in self.recordings)
        demo = " (demo stimuli, not photographs)" if base.demo else ""
        heading = f"{base.provenance['model']['name']} at {scales}: {SCALE_METHODS[self.by]}{demo}"
        shown = ["site", "effect", "ci_low", "ci_high", "p_holm", "sd", "classes_risen", "verdict"]
        table = overall_shifts(self.tests)[shown].to_html(escape=True, index=False, float_format="{:.4f}".format)
        return f"<div><strong>{html.escape(heading)}</strong>{table}</div>"


def is_scale_run(path: str | Path) -> bool:
    """Return whether a folder holds a scale experiment, whole or not."""
    return any(Path(path).glob("scale-*/recording.zarr"))


def open_scale_run(path: str | Path) -> ScaleRun:
    """Open a scale experiment for reading.

    Raises:
        SeProbeError: there is none at `path`, or it was stopped before its end.
    """
    stores = [store for store in Path(path).glob("scale-*/recording.zarr") if not is_incomplete(store)]
    opened = [open_recording(store.parent) for store in stores]
    recordings = {recording.provenance["scale"]["factor"]: recording for recording in opened}
    if len(recordings) < 2 or not (Path(path) / THUMBNAILS).is_file():
        raise SeProbeError(
            f"{path} holds no complete scale experiment ({len(recordings)} complete recordings at different scales); "
            "expected the folder of a run of se-probe scale that came to its end, run it again with --overwrite."
        )
    ordered = dict(sorted(recordings.items()))
    by = str(opened[0].provenance["scale"]["by"])
    return ScaleRun(Path(path), by, ordered, read_thumbnails(Path(path) / THUMBNAILS))


def draw_scales(run: ScaleRun, folder: str | Path) -> list[Path]:
    """Draw the figures of a scale experiment into `folder/figures`, without the network; return the files.

    Raises:
        SeProbeError: the folder cannot be written.
    """
    return Artifacts(Path(folder)).figures(scales_drawn(run))


def scales_drawn(run: ScaleRun) -> list[Drawn]:
    """Draw the figures of a scale experiment.

    The figures of single images and of classes need branches with kernels of different extent; the response
    of the gates is drawn for every network.
    """
    base = run.base
    chosen = base.images[base.images["role"] == "chosen"]
    about: dict[str, Any] = {"demo": base.demo, "caption": _caption(run, chosen)}
    levels = response(run.values)
    drawn = [Drawn(scale_response(levels, **about), levels, "scale_response")]
    if not any(has_larger_kernel(site) for site in base.sites):
        return drawn
    paths = list(dict.fromkeys(path for path, _ in run.thumbnails))
    examples = example_values(run.recordings, run.values, paths)
    by_class = class_values(run.recordings)
    shown = by_class[by_class["site"].isin(class_units(base.sites))]
    drawn.append(Drawn(scale_images(examples, run.thumbnails, **about), examples, "scale_images"))
    about["caption"] = _caption(run, base.images)
    return [*drawn, Drawn(scale_classes(shown, **about), shown, "scale_classes")]


def scale_tables(run: ScaleRun) -> dict[str, pd.DataFrame]:
    """Return the tables of a scale experiment, and of branches where gates have any, by the names of their files."""
    tables = {
        "scale_tests.csv": run.tests,
        "scale_response.csv": response(run.values),
        "scale_images.csv.gz": run.values,
        "scale_classes.csv.gz": class_values(run.recordings),
    }
    if has_branches(run.base):
        tables |= branch_tables(run.base, run.base.provenance["cardinality"])
    return tables


def _caption(run: ScaleRun, images: pd.DataFrame) -> str:
    network, classes = model_line(run.base.provenance["model"]), images["class"].nunique()
    return f"{network} · {len(images)} images of {classes} classes, {SCALE_METHODS[run.by]}"
