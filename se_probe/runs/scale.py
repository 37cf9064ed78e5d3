"""The scale experiment: the same images at several sizes through one network, from recordings to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from se_probe.analysis.scale import example_images
from se_probe.analysis.shifts import overall_shifts, shift_sentences
from se_probe.errors import SeProbeError
from se_probe.images import Selection, batches
from se_probe.images.loader import Transform
from se_probe.images.zoom import Enlarge, EnlargedDrawings, resampling
from se_probe.io.progress import progress_bar
from se_probe.models import LoadedModel
from se_probe.recording import Execution, record
from se_probe.recording.run_folder import RunFolder, choose_folder
from se_probe.runs.plan import (
    Plan,
    Say,
    batch_size_of,
    device_of,
    images_of,
    label_of,
    network_of,
    plan_provenance,
    plan_run,
    require_one_process,
    warnings_of,
    workers_of,
)
from se_probe.runs.presets import preset_of
from se_probe.runs.scale_result import METHODS, THUMBNAILS, ScaleRun, draw_scales, write_scale_tables, write_thumbnails

DEMO_MODEL = "demo:sk"
PAPER = "sknet"
THUMBNAIL_SIDE = 96


def scale(
    classes: str | Sequence[str] | None = None,
    *,
    data: str | Path | None = None,
    demo: bool = False,
    model: str | torch.nn.Module | LoadedModel | None = None,
    checkpoint: str | Path | None = None,
    model_args: Mapping[str, object] | None = None,
    random_weights: bool = False,
    preset: str = PAPER,
    scales: Sequence[float] | None = None,
    by: str = "crop",
    per_class: int = 50,
    reference_per_class: int | None = None,
    seed: int = 0,
    batch_size: int | str = 32,
    workers: int | None = None,
    device: str | None = None,
    exact: bool = False,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    command: str = "se_probe.scale",
    say: Say = print,
    show_progress: bool = True,
) -> ScaleRun:
    """Record a network's gates over the same images at several scales, and test whether attention moves.

    Args:
        classes, data, demo, checkpoint, model_args, random_weights, per_class, reference_per_class, seed,
            batch_size, workers, device, exact, name, out, overwrite, command, say, show_progress: as in `excite`.
        model: as in `excite`; by default `skresnext50_32x4d`, timm's network nearest the paper's SKNet-50, or
            with `demo` the bundled `demo:sk`.
        preset: the paper whose network, classes and scales are taken where none are given.
        scales: two or more different enlargements; the smallest is what the others are compared with.
        by: "crop" takes the central 1/scale of width and height and resizes it to the image's size before
            the model's own preprocessing. That this is the paper's way is not confirmed. It blurs images that
            are no larger than the network's input, and moves the gates by that too. "object", with the
            demo's drawings, draws the object itself at `scale` times its size on the same ground.

    Returns:
        The run. Its folder holds a recording for each scale in `scale-<scale>/`, `figures/`, `tables/` and
        `run.json`.

    Raises:
        SeProbeError: an input cannot be used. Recordings that were begun are marked as incomplete.

    Source: Li et al., Selective Kernel Networks, arXiv 1903.06586, the analysis of attention weights.
    """
    require_one_process("the scale experiment")
    asked = {"device": device_of(device), "batch_size": batch_size, "workers": workers_of(workers), "exact": exact}
    settings = {"device": asked["device"], "batch_size": batch_size_of(batch_size), "workers": asked["workers"]}
    preferred = preset_of(preset)
    demo = demo or (data is None and isinstance(model, str) and model.startswith("demo:"))
    ordered = _check_scales(preferred.scales if scales is None else scales, by, demo=demo)
    wanted = model or (DEMO_MODEL if demo else preferred.model)
    folder = _folder(name or f"scale-{label_of(wanted)}", out, ordered, overwrite=overwrite)
    spec = network_of(wanted, checkpoint, model_args, random_weights=random_weights, seed=seed)
    counts = (per_class, per_class if reference_per_class is None else reference_per_class, seed)
    plan = plan_run(spec, images_of(data, spec, demo=demo), classes or preferred.classes, counts, None, None, say)
    say(f"scales    {', '.join(f'{item:g}×' for item in ordered)}: {METHODS[by]}")
    provenance = plan_provenance(plan, command, asked, demo=demo)
    options = {**settings, "execution": Execution(exact), "say": say}
    run = _record_all(plan, folder, ordered, by, provenance, options, show_progress)
    warnings = [*warnings_of(run.base), *_blur(plan, run)]
    return _finish(run, folder, {**provenance, "warnings": warnings}, say)


def _check_scales(scales: Sequence[float], by: str, *, demo: bool) -> list[float]:
    """Return the scales in ascending order."""
    if by not in METHODS:
        raise SeProbeError(f"scales by {by!r} were asked for; expected one of {', '.join(METHODS)}.")
    if by == "object" and not demo:
        raise SeProbeError("objects can be drawn larger in the demo's drawings only; add --demo, or use --by crop.")
    ordered = sorted({float(item) for item in scales})
    least = 1.0 if by == "crop" else 0.0
    if len(ordered) < 2 or not all(isfinite(item) and item >= least and item > 0 for item in ordered):
        bound = "of 1 or more (a crop cannot show what is outside the image)" if by == "crop" else "above 0"
        raise SeProbeError(
            f"the scales {', '.join(f'{item:g}' for item in scales) or '(none)'} were asked for; expected two or more "
            f"different ones {bound}."
        )
    return ordered


def _folder(name: str, out: str | Path | None, scales: Sequence[float], *, overwrite: bool) -> RunFolder:
    """Return the run's folder, free of earlier parts that are not to be replaced."""
    folder = choose_folder(name, Path(out) if out else None, overwrite=overwrite)
    for factor in scales:
        choose_folder(name, _part(folder, factor).path, overwrite=overwrite)
    return folder


def _part(folder: RunFolder, factor: float) -> RunFolder:
    return RunFolder(folder.path / f"scale-{factor}")


def _clear(folder: RunFolder) -> None:
    folder.clear()
    for part in folder.path.glob("scale-*"):
        RunFolder(part).clear()
        if not any(part.iterdir()):
            part.rmdir()


def _at(plan: Plan, factor: float, by: str, then: Transform) -> tuple[Selection, Transform]:
    """Return the selected images at a scale: what opens them, and the transform."""
    if by == "crop":
        return plan.selection, Enlarge(factor, resampling(plan.model.preprocessing), then)
    images = replace(plan.selection.images, source=EnlargedDrawings(factor))
    return replace(plan.selection, images=images), then


def _record_all(
    plan: Plan,
    folder: RunFolder,
    scales: Sequence[float],
    by: str,
    provenance: dict[str, Any],
    settings: dict[str, Any],
    show_progress: bool,
) -> ScaleRun:
    _clear(folder)
    recordings = {}
    with progress_bar("recording", len(scales) * len(plan.selection.entries), shown=show_progress) as progress:
        for factor in scales:
            selection, transform = _at(plan, factor, by, plan.model.transform)
            recordings[factor] = record(
                replace(plan.model, transform=transform),
                plan.discovery.sites,
                selection,
                _part(folder, factor).recording,
                provenance={**provenance, "scale": {"factor": factor, "by": by, "method": METHODS[by]}},
                progress=progress,
                **settings,
            )
    paths = example_images(recordings[scales[0]])
    thumbnails = {key: item for factor in scales for key, item in _thumbnails(plan, factor, by, paths).items()}
    write_thumbnails(folder.path / THUMBNAILS, thumbnails)
    return ScaleRun(folder.path, by, recordings, thumbnails)


def _finish(run: ScaleRun, folder: RunFolder, provenance: dict[str, Any], say: Say) -> ScaleRun:
    for line in provenance["warnings"]:
        say(f"warning   {line}")
    tables = write_scale_tables(run, folder.tables)
    figures = draw_scales(run, folder.path)
    facts = {**provenance, "scales": {"factors": list(run.recordings), "by": run.by, "method": METHODS[run.by]}}
    written = folder.write_facts({**facts, "complete": True})
    for line in shift_sentences(overall_shifts(run.tests)):
        say(f"finding   {line}")
    stores = [recording.path for recording in run.recordings.values()]
    say("\n".join(f"wrote     {path}" for path in [*stores, *figures, *tables, written]))
    return run


def _thumbnails(plan: Plan, factor: float, by: str, paths: Sequence[str]) -> dict[tuple[str, float], NDArray[Any]]:
    selection, transform = _at(plan, factor, by, _thumbnail)
    pictures = _looked_at(selection, transform, paths)
    return {(path, factor): pictures[path].numpy() for path in paths}


def _looked_at(selection: Selection, transform: Transform, paths: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return what `transform` makes of some of the selected images."""
    entries = tuple(entry for entry in selection.entries if entry.sample.path in paths)
    (batch,) = batches(replace(selection, entries=entries), transform, batch_size=len(entries), workers=0)
    return {entries[index].sample.path: item for index, item in zip(batch.indices, batch.images, strict=True)}


def _thumbnail(image: Image.Image) -> torch.Tensor:
    """Return the central square of an image, `(side, side, 3)`, uint8."""
    square = ImageOps.fit(image, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(square))


def _blur(plan: Plan, run: ScaleRun) -> list[str]:
    """Return a warning where crops have fewer pixels than the network takes in, so that enlarging blurs."""
    paths = list(dict.fromkeys(path for path, _ in run.thumbnails))
    shortest = min(int(side) for side in _looked_at(plan.selection, _shorter_side, paths).values())
    largest, needed = max(run.recordings), min(plan.model.input_size[1:])
    if run.by != "crop" or shortest / largest >= needed:
        return []
    return [
        f"images are as small as {shortest} pixels, so that crops at {largest:g}× have fewer than the {needed} of the "
        "network's input: enlarging blurs them, and gates move by that too"
    ]


def _shorter_side(image: Image.Image) -> torch.Tensor:
    return torch.tensor(min(image.size))
