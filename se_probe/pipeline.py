"""From a network and images to a recording with its figures and tables, in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from se_probe.analysis import (
    default_within,
    excitation_curves,
    sample_channels,
    select_sites,
    within_class_curves,
    write_tables,
)
from se_probe.errors import SeProbeError
from se_probe.figures import caption_line, role_of_excitation, save_figure, within_class
from se_probe.gates import Discovery, discover, require_gates
from se_probe.images import ImageSet, Selection, demo_images, label_disagreement, open_images, select
from se_probe.labels import ImageClass, LabelSpace, label_space_from_names
from se_probe.models import LoadedModel, load_model
from se_probe.progress import progress_bar
from se_probe.recording import Recording, provenance_of, record
from se_probe.run_folder import RunFolder, choose_folder

PAPER_CLASSES = "goldfish,pug,plane,cliff"
PAPER_MODEL = "legacy_seresnet50"
DEMO_MODEL = "demo:se"

Say = Callable[[str], None]


def excite(
    classes: str | Sequence[str] = PAPER_CLASSES,
    *,
    data: str | Path | None = None,
    demo: bool = False,
    model: str | LoadedModel | None = None,
    checkpoint: str | Path | None = None,
    model_args: Mapping[str, object] | None = None,
    random_weights: bool = False,
    per_class: int = 50,
    reference_per_class: int | None = None,
    seed: int = 0,
    sites: Sequence[str] | None = None,
    channels: int | None = 50,
    within: str | Sequence[str] | None = None,
    batch_size: int = 32,
    workers: int | None = None,
    device: str | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    command: str = "se_probe.excite",
    say: Say = print,
    show_progress: bool = True,
) -> Recording:
    """Record a network's gates over images of some classes, and draw the SENet paper's "Role of Excitation".

    Args:
        classes: the classes to compare: indices, wnids or exact names, in a list or separated by commas.
        data: folder, tar or data set of labelled images (see `open_images`).
        demo: use the bundled drawings, and the bundled network unless `model` names another.
        model: a network by name (see `load_model`; default `legacy_seresnet50`), or loaded already.
        checkpoint: weights from a file; as `model_args` and `random_weights`, see `load_model`.
        model_args: arguments of the network's builder.
        random_weights: untrained weights, drawn from `seed`.
        per_class: number of images of each chosen class, at the most.
        reference_per_class: the same for every other class, for the curve of all classes; `per_class` by
            default, 0 for none.
        seed: decides which images are recorded where a class has more, and which channels are shown.
        sites: sites that the figures show; the last of each stage and all of the last stage by default. All
            sites are recorded in any case.
        channels: number of channels that the figures show, None for all.
        within: classes of the within-class figure; goldfish and plane, else the first two, by default.
        batch_size: images in one forward pass.
        workers: processes that decode images; a few by default.
        device: torch device; an accelerator by default, where there is one.
        name: name of the run's folder below `reports/`; numbered where it is taken.
        out: the run's folder itself, in the place of `reports/<name>`.
        overwrite: replace a run that lies there already.
        command: how the run was started; kept in the provenance.
        say: is given each line about what was resolved and written.
        show_progress: show a bar with the time left.

    Returns:
        The recording. Its folder holds `recording.zarr`, `figures/`, `tables/` and `run.json`.

    Raises:
        SeProbeError: an input cannot be used. Nothing was written, or the recording is marked as incomplete.
    """
    settings = {"device": _device(device), "batch_size": batch_size, "workers": _workers(workers)}
    _check_counts(batch_size, channels)
    demo = demo or (data is None and isinstance(model, str) and model.startswith("demo:"))
    folder = choose_folder(name or _default_name(model, demo), Path(out) if out else None, overwrite=overwrite)
    if not isinstance(model, LoadedModel):
        spec = model or (DEMO_MODEL if demo else PAPER_MODEL)
        weights = Path(checkpoint) if checkpoint else None
        model = load_model(spec, checkpoint=weights, model_args=model_args, random_weights=random_weights, seed=seed)
    reference = per_class if reference_per_class is None else reference_per_class
    images = _images(data, model, demo=demo)
    plan = _plan(model, images, classes, (per_class, reference, seed), within, sites, say)
    provenance = provenance_of(
        model,
        plan.selection,
        command=command,
        settings=settings,
        spatial_maps={item.module: item.count for item in plan.discovery.spatial_maps},
        demo=demo or model.source == "demo",
    )
    recording = _record(plan, folder, provenance, settings, show_progress)
    warnings = _warnings(recording)
    for line in warnings:
        say(f"warning   {line}")
    figures = draw(recording, folder.path, sites=sites, channels=channels, within=plan.within, seed=seed)
    tables = write_tables(recording, folder.tables)
    shown = {"sites": sites, "channels": channels, "within": plan.within, "seed": seed}
    facts = folder.write_facts({**provenance, "figures": shown, "warnings": warnings, "complete": True})
    say("\n".join(f"wrote     {path}" for path in [folder.recording, *figures, *tables, facts]))
    return recording


def draw(
    recording: Recording,
    folder: str | Path,
    *,
    sites: Sequence[str] | None = None,
    classes: str | Sequence[str] | None = None,
    channels: int | None = 50,
    within: str | Sequence[str] | None = None,
    seed: int = 0,
) -> list[Path]:
    """Draw the figures of a recording into `folder/figures`, without the network; return the files.

    Args and Raises as in `excite`; `classes` may be any classes of the recording's moments, the chosen ones
    by default.
    """
    labels = recorded_labels(recording)
    present = [name for name in recording.chosen if name in set(recording.classes["name"])]
    names = [item.image_class.name for item in labels.resolve_all(classes)] if classes else present
    pair = [item.image_class.name for item in labels.resolve_all(within)] if within else default_within(names)
    between = excitation_curves(recording, sites, names, channels, seed)
    if not recording.provenance["data"]["reference_per_class"]:
        between = between[between["role"] == "class"]
    inside = within_class_curves(recording, pair, sites, channels, seed)
    model = recording.provenance["model"]
    captions = [caption_line(model["name"], model["weights"], curves) for curves in (between, inside)]
    figures = RunFolder(Path(folder)).figures
    first = role_of_excitation(between, demo=recording.demo, caption=captions[0])
    second = within_class(inside, demo=recording.demo, order=names, caption=captions[1])
    return [
        *save_figure(first, between, figures, "role_of_excitation"),
        *save_figure(second, inside, figures, "within_class"),
    ]


def recorded_labels(recording: Recording) -> LabelSpace:
    """Return the classes of a recording with every name that reaches them."""
    rows = recording.classes[["name", "index", "wnid"]].astype(object).itertuples(index=False, name=None)
    classes = tuple(
        ImageClass(None if pd.isna(index) else int(index), wnid, name, _lemmas(name, wnid))
        for name, index, wnid in rows
    )
    return LabelSpace(classes, title=f"the recording {recording.path}")


def _lemmas(name: str, wnid: str | None) -> tuple[str, ...]:
    return label_space_from_names([wnid], title="").classes[0].lemmas if wnid else (name,)


@dataclass(frozen=True)
class _Plan:
    """What a run will do: which network, which of its gates, which images; all inputs are checked by now."""

    model: LoadedModel
    discovery: Discovery
    selection: Selection
    within: list[str]


def _plan(
    model: LoadedModel,
    images: ImageSet,
    classes: str | Sequence[str],
    counts: tuple[int, int, int],
    within: str | Sequence[str] | None,
    sites: Sequence[str] | None,
    say: Say,
) -> _Plan:
    """Resolve every input, and say how."""
    say(f"model     {model.name}: {model.weights} (sha256 {model.weights_sha256[:12]})")
    discovery = discover(model.network, model.input_size)
    require_gates(model.name, discovery)
    select_sites(discovery.sites, sites)
    say(f"gates     {describe_gates(discovery)}")
    say(f"data      {images.title}: {images.layout}" + f", {images.ignored} other files ignored" * bool(images.ignored))
    resolutions = images.labels.resolve_all(classes)
    say(f"classes   {', '.join(item.image_class.describe() for item in resolutions)}")
    for note in [item.note for item in resolutions if item.note]:
        say(f"note      {note}")
    chosen = [item.image_class for item in resolutions]
    pair = _within(images.labels, within, chosen)
    per_class, reference, seed = counts
    selection = select(images, chosen, per_class=per_class, reference_per_class=reference, seed=seed)
    say(f"images    {len(selection.entries)} of {len(images.samples)}: {selection.rule}")
    return _Plan(model, discovery, selection, pair)


def describe_gates(discovery: Discovery) -> str:
    """Return one line about what discovery found: number, families, names, and what is not recorded."""
    sites, maps = discovery.sites, discovery.spatial_maps
    families = ", ".join(dict.fromkeys(site.family for site in sites))
    channels = sum(site.channels * site.branches for site in sites)
    line = f"{len(sites)} {families} sites, {sites[0].name} to {sites[-1].name}, {channels} channels in all"
    if maps:
        places = ", ".join(item.module or "the network itself" for item in maps)
        line += f"; not recorded: {sum(item.count for item in maps)} spatial maps ({places})"
    return line


def _within(labels: LabelSpace, within: str | Sequence[str] | None, chosen: Sequence[ImageClass]) -> list[str]:
    if within is None:
        return default_within([item.name for item in chosen])
    resolved = [item.image_class for item in labels.resolve_all(within)]
    for item in resolved:
        if item not in chosen:
            raise SeProbeError(
                f"{item.describe()} is asked for within classes but is not among the chosen classes "
                f"({', '.join(other.name for other in chosen)}); add it to --classes."
            )
    return [item.name for item in resolved]


def _images(data: str | Path | None, model: LoadedModel, *, demo: bool) -> ImageSet:
    if demo and data is not None:
        raise SeProbeError(f"both the demo and the data {data} were asked for; choose one of --demo and --data.")
    if demo:
        return demo_images()
    if data is None:
        raise SeProbeError(
            "no images were given; expected a folder of labelled images with --data DIR (or SE_PROBE_DATA in the "
            "environment), or --demo for the bundled drawings."
        )
    return open_images(data, model.labels)


def _record(
    plan: _Plan, folder: RunFolder, provenance: dict[str, Any], settings: dict[str, Any], show_progress: bool
) -> Recording:
    folder.clear()
    total = len(plan.selection.entries)
    with progress_bar("recording", total, shown=show_progress) as progress:
        return record(
            plan.model,
            plan.discovery.sites,
            plan.selection,
            folder.recording,
            provenance=provenance,
            progress=progress,
            **settings,
        )


def _warnings(recording: Recording) -> list[str]:
    """Return what a reader should know before trusting the run: shuffled labels, skipped images."""
    guessed = recording.images.dropna(subset=["predicted_index"])
    labels = [None if pd.isna(index) else int(index) for index in guessed["class_index"]]
    disagreement = label_disagreement(labels, guessed["predicted_index"].astype(int).tolist())
    warnings = [disagreement] if disagreement else []
    skipped = recording.skipped
    if len(skipped):
        first = skipped.iloc[0]
        warnings.append(
            f"{len(skipped)} images could not be decoded and were skipped, {first['path']} ({first['reason']}) first; "
            "the recording names them all"
        )
    return warnings


def _check_counts(batch_size: int, channels: int | None) -> None:
    if batch_size < 1:
        raise SeProbeError(f"a batch of {batch_size} images was asked for; expected 1 or more.")
    if channels is not None:
        sample_channels(1, channels, seed=0)


def _device(device: str | None) -> str:
    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SeProbeError(f"the device {device!r} cannot be used ({reason}); try --device cpu.") from error
    return device


def _workers(workers: int | None) -> int:
    if workers is None:
        return min(4, max(1, (os.cpu_count() or 1) - 1))
    if workers < 0:
        raise SeProbeError(f"{workers} worker processes were asked for; expected 0 or more.")
    return workers


def _default_name(model: str | LoadedModel | None, demo: bool) -> str:
    if isinstance(model, LoadedModel):
        return model.name
    return model or (DEMO_MODEL if demo else PAPER_MODEL)
