"""Record the same images at several sizes through one network, and test whether attention or gates move."""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from se_probe.analysis.branches import branch_tables, has_branches
from se_probe.analysis.scale import (
    class_units,
    class_values,
    example_images,
    example_values,
    has_larger_kernel,
    image_values,
    response,
)
from se_probe.analysis.shifts import overall_shifts, scale_summary, shift_sentences, shift_tests
from se_probe.errors import SeProbeError
from se_probe.figures import model_line, scale_classes, scale_images, scale_response
from se_probe.images.changes import Enlarge, resampling
from se_probe.images.open import Drawings
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.recording import Recording
from se_probe.recording.run_folder import JOINED_SCALE, RunFolder
from se_probe.runs.analyse import update_report
from se_probe.runs.artifacts import Artifacts, Drawn, tell_summary
from se_probe.runs.conditions import (
    THUMBNAILS,
    Condition,
    Parts,
    read_thumbnails,
    record_conditions,
    thumbnail,
    transformed,
    write_thumbnails,
)
from se_probe.runs.joining import join, require_same, result_folder, with_classes
from se_probe.runs.options import verb
from se_probe.runs.plan import Plan, label_of, load_inputs, machine_of, plan_run, require_one_process
from se_probe.runs.presets import preset_of
from se_probe.runs.record import tell_warnings
from se_probe.runs.settings import SCALE_METHODS, ScaleSettings

PREFIX = "scale"


@verb(ScaleSettings)
def scale(settings: ScaleSettings) -> ScaleRun:
    """Record a network's gates over the same images at several scales, and test whether attention moves.

    Returns:
        The run. Its folder holds a recording for each scale in `scale-<scale>/`, `figures/`, `tables/` and
        `run.json`. With `run` it is the folder `scale` in that run's, whose report then has a section on scale.

    Raises:
        SeProbeError: an input cannot be used. Recordings that were begun are marked as incomplete.

    Source: Li et al., Selective Kernel Networks, arXiv 1903.06586, the analysis of attention weights.
    """
    require_one_process("the scale experiment")
    settings, joined = join(settings)
    if joined is not None:
        settings = with_classes(settings, joined)
    plan, conditions, parts = _plan(settings, joined)
    recordings, _ = record_conditions(plan, parts, conditions, exact=settings.exact)
    folder = parts.folder.path
    thumbnails = write_thumbnails(folder, conditions, example_images(recordings[min(recordings)]))
    run = ScaleRun(folder, settings.by, recordings, thumbnails)
    with status("testing and drawing", shown=settings.progress):
        _write(run, plan)
    if joined is not None:
        update_report(joined, data=settings.data, progress=settings.progress)
    return run


def _plan(settings: ScaleSettings, joined: Recording | None) -> tuple[Plan, dict[float, Condition], Parts]:
    preset = preset_of(settings.preset)
    scales = _ascending(preset.scales if settings.scales is None else settings.scales, settings)
    machine = machine_of(settings, settings.batch_size)
    label = f"scale-{label_of(settings.network(preset.model))}"
    parts = Parts(result_folder(settings, joined, JOINED_SCALE, label), PREFIX)
    parts.require_free(label, map(str, scales), overwrite=settings.overwrite)
    model, selection = load_inputs(settings, preset)
    if joined is not None:
        require_same(joined, model, selection)
    plan = plan_run(settings, model, selection, machine)
    tell("scales", f"{', '.join(f'{item:g}×' for item in scales)}: {SCALE_METHODS[settings.by]}")
    return plan, {factor: _condition(plan, factor, settings.by) for factor in scales}, parts


def _ascending(scales: Sequence[float], settings: ScaleSettings) -> list[float]:
    """Return the scales in ascending order; refuse fewer than two, and those that cannot be shown."""
    crop = settings.by == "crop"
    if not crop and not settings.uses_demo:
        raise SeProbeError("objects can be drawn larger in the demo's drawings only; add --demo, or use --by crop.")
    ordered = sorted({float(item) for item in scales})
    if len(ordered) < 2 or (crop and ordered[0] < 1):
        bound = "of 1 or more (a crop cannot show what is outside the image)" if crop else "above 0"
        raise SeProbeError(
            f"the scales {', '.join(f'{item:g}' for item in scales) or '(none)'} were requested; expected two or more "
            f"different ones {bound}."
        )
    return ordered


def _condition(plan: Plan, factor: float, by: str) -> Condition:
    """Return the selected images at a scale."""
    facts = {"factor": factor, "by": by, "method": SCALE_METHODS[by]}
    if by == "crop":
        larger, shown = (
            Enlarge(factor, resampling(plan.model.preprocessing), then) for then in (plan.model.transform, thumbnail)
        )
        return Condition(str(factor), plan.selection, larger, shown, facts)
    drawn = replace(plan.selection, images=replace(plan.selection.images, source=Drawings(factor)))
    return Condition(str(factor), drawn, plan.model.transform, thumbnail, facts)


def _write(run: ScaleRun, plan: Plan) -> None:
    """Write tables, figures and facts, and log the results."""
    warnings, blur = tell_warnings(run.base), _blur(plan, run)
    for line in blur:
        tell("warning", line, logging.WARNING)
    artifacts = Artifacts(run.path)
    artifacts.tables(run.tables())
    artifacts.figures(run.drawn())
    scales = {"factors": list(run.recordings), "by": run.by, "method": SCALE_METHODS[run.by]}
    more = {"warnings": [*warnings, *blur], "options": plan.options, "scales": scales, "complete": True}
    artifacts.facts({**plan.provenance, **more})
    overall = overall_shifts(run.tests)
    tell_summary(scale_summary(overall), shift_sentences(overall))


def _blur(plan: Plan, run: ScaleRun) -> list[str]:
    """Warn if crops have fewer pixels than the network's input, so that enlarging blurs them."""
    sides = transformed(plan.selection, lambda image: torch.tensor(min(image.size)), run.examples)
    shortest = min(int(side) for side in sides.values())
    largest, needed = max(run.recordings), min(plan.model.input_size[1:])
    if run.by != "crop" or shortest / largest >= needed:
        return []
    return [
        f"images are as small as {shortest} pixels, so that crops at {largest:g}× have fewer than the {needed} of the "
        "network's input: enlarging blurs them, and that alone moves gates"
    ]


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

    @property
    def examples(self) -> list[str]:
        """Paths of the images with pictures."""
        return list(dict.fromkeys(path for path, _ in self.thumbnails))

    @cached_property
    def values(self) -> pd.DataFrame:
        """One row per scale, site and image (`image_values`)."""
        return image_values(self.recordings)

    @cached_property
    def tests(self) -> pd.DataFrame:
        """Whether attention or gates move, for every site and pair of scales (`shift_tests`)."""
        return shift_tests(self.values, seed=self.base.provenance["data"]["seed"])

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables, those of branches included, by the names of their files."""
        tables = {
            "scale_tests.csv": self.tests,
            "scale_response.csv": response(self.values),
            "scale_images.csv.gz": self.values,
            "scale_classes.csv.gz": class_values(self.recordings),
        }
        if has_branches(self.base):
            tables |= branch_tables(self.base, self.base.provenance["cardinality"])
        return tables

    def drawn(self) -> list[Drawn]:
        """Draw the figures.

        Those of single images and of classes need branches with kernels of different extent; the response of the gates
        is drawn for every network.
        """
        base = self.base
        about: dict[str, Any] = {"demo": base.demo, "caption": self._caption(base.images.query("role == 'chosen'"))}
        levels = response(self.values)
        drawn = [Drawn(scale_response(levels, **about), levels, "scale_response")]
        if not any(has_larger_kernel(site) for site in base.sites):
            return drawn
        examples = example_values(self.recordings, self.values, self.examples)
        drawn.append(Drawn(scale_images(examples, self.thumbnails, **about), examples, "scale_images"))
        by_class = class_values(self.recordings)
        shown = by_class[by_class["site"].isin(class_units(base.sites))]
        about["caption"] = self._caption(base.images)
        return [*drawn, Drawn(scale_classes(shown, **about), shown, "scale_classes")]

    def _caption(self, images: pd.DataFrame) -> str:
        network, classes = model_line(self.base.provenance["model"]), images["class"].nunique()
        return f"{network} · {len(images)} images of {classes} classes, {SCALE_METHODS[self.by]}"

    @property
    def _scales(self) -> str:
        return ", ".join(f"{item:g}×" for item in self.recordings)

    def __repr__(self) -> str:
        about = f"<se_probe.ScaleRun {self.path}: {self._scales}, {SCALE_METHODS[self.by]}>"
        return "\n  ".join([about, *shift_sentences(overall_shifts(self.tests))])

    def _repr_html_(self) -> str:
        """Show the verdicts from the smallest to the largest scale in a notebook."""
        demo = " (demo stimuli, not photographs)" if self.base.demo else ""
        heading = f"{self.base.provenance['model']['name']} at {self._scales}: {SCALE_METHODS[self.by]}{demo}"
        shown = ["site", "effect", "ci_low", "ci_high", "p_holm", "sd", "classes_risen", "verdict"]
        table = overall_shifts(self.tests)[shown].to_html(escape=True, index=False, float_format="{:.4f}".format)
        return f"<div><strong>{html.escape(heading)}</strong>{table}</div>"


def open_scale_run(path: str | Path) -> ScaleRun:
    """Open a scale experiment for reading.

    Raises:
        SeProbeError: there is none at `path`, or it was stopped before its end.
    """
    folder = Path(path)
    complete = {item.provenance["scale"]["factor"]: item for item in Parts(RunFolder(folder), PREFIX).complete()}
    if len(complete) < 2 or not (folder / THUMBNAILS).is_file():
        raise SeProbeError(
            f"{path} holds no complete scale experiment ({len(complete)} complete recordings at different scales); "
            "expected the folder of a run of se-probe scale that finished; run it again with --overwrite."
        )
    recordings = dict(sorted(complete.items()))
    by = str(next(iter(recordings.values())).provenance["scale"]["by"])
    return ScaleRun(folder, by, recordings, read_thumbnails(folder))
