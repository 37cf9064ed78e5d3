"""What a run is asked for, resolved and checked before anything is written: network, gates, images, device."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from se_probe.analysis import default_within, select_sites
from se_probe.errors import SeProbeError, first_line
from se_probe.gates import Discovery, discover, require_gates
from se_probe.gates.cardinality import cardinality
from se_probe.images import ImageSet, Selection, demo_images, label_disagreement, open_images, select
from se_probe.labels import ImageClass, LabelSpace
from se_probe.models import LoadedModel, load_model, model_of
from se_probe.recording import Recording, place_of_environment, provenance_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a run will do: which network, which of its gates, which images; all inputs are checked by now."""

    model: LoadedModel
    discovery: Discovery
    selection: Selection
    within: list[str]


def plan_run(
    model: LoadedModel,
    images: ImageSet,
    classes: str | Sequence[str],
    counts: tuple[int, int, int],
    within: str | Sequence[str] | None,
    sites: Sequence[str] | None,
    say: Say,
    record_sites: Sequence[str] | None = None,
) -> Plan:
    """Resolve every input, and say how; `record_sites` are the sites that are recorded, all by default."""
    say(f"model     {model.name}: {model.weights} (sha256 {model.weights_sha256[:12]})")
    discovery = discover(model.network, model.input_size)
    require_gates(model.name, discovery)
    discovery = _only(discovery, record_sites)
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
    return Plan(model, discovery, selection, pair)


def _only(discovery: Discovery, names: Sequence[str] | None) -> Discovery:
    """Return what was found with some of its sites, in network order."""
    if names is None:
        return discovery
    wanted = select_sites(discovery.sites, names)
    return replace(discovery, sites=tuple(site for site in discovery.sites if site in wanted))


def label_of(model: str | torch.nn.Module | LoadedModel) -> str:
    """Return what a run's folder is named after."""
    if isinstance(model, LoadedModel):
        return model.name
    return model if isinstance(model, str) else type(model).__name__


def network_of(
    model: str | torch.nn.Module | LoadedModel,
    checkpoint: str | Path | None,
    model_args: Mapping[str, object] | None,
    *,
    random_weights: bool,
    seed: int,
) -> LoadedModel:
    """Return the network of a run: loaded by name, taken from memory, or as it was given."""
    if isinstance(model, LoadedModel):
        return model
    if isinstance(model, torch.nn.Module):
        return model_of(model)
    weights = Path(checkpoint) if checkpoint else None
    return load_model(model, checkpoint=weights, model_args=model_args, random_weights=random_weights, seed=seed)


def plan_provenance(plan: Plan, command: str, settings: Mapping[str, Any], *, demo: bool) -> dict[str, Any]:
    """Return the facts that the recordings of a planned run keep about their making."""
    facts = provenance_of(
        plan.model,
        plan.selection,
        command=command,
        settings=settings,
        spatial_maps={item.module: item.count for item in plan.discovery.spatial_maps},
        demo=demo or plan.model.source == "demo",
    )
    return {**facts, "cardinality": cardinalities(plan)}


def cardinalities(plan: Plan) -> dict[str, int]:
    """Number of cardinal groups of every split-attention site, where it is known."""
    sites = [site for site in plan.discovery.sites if site.family == "split attention"]
    found = {site.name: cardinality(plan.model.network, site) for site in sites}
    return {name: groups for name, groups in found.items() if groups is not None}


def describe_gates(discovery: Discovery) -> str:
    """Return one line about what discovery found: number, families, names, and what is not recorded."""
    sites, maps = discovery.sites, discovery.spatial_maps
    families = ", ".join(dict.fromkeys(site.family for site in sites))
    channels = sum(site.channels * site.branches for site in sites)
    line = f"{len(sites)} {families} sites, {sites[0].name} to {sites[-1].name}, {channels} channels in all"
    if maps:
        places = ", ".join(item.module or "the network itself" for item in maps)
        line += f"; not recorded: products with spatial maps, {sum(item.count for item in maps)} ({places})"
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


def images_of(data: str | Path | None, model: LoadedModel, *, demo: bool) -> ImageSet:
    """Return the images of a run: the demo's drawings or those of `data`."""
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


def warnings_of(recording: Recording) -> list[str]:
    """Return what a reader should know before trusting the run: shuffled labels, skipped images."""
    guessed = recording.images.dropna(subset=["predicted_index"])
    labels = [None if pd.isna(index) else int(index) for index in guessed["class_index"]]
    disagreement = label_disagreement(labels, guessed["predicted_index"].astype(int).tolist())
    warnings = [disagreement] if disagreement else []
    skipped = recording.skipped
    if len(skipped):
        first = skipped.iloc[0]
        warnings.append(
            f"{len(skipped)} images were skipped, {first['path']} ({first['reason']}) first; "
            "the recording names them all"
        )
    return warnings


def require_one_process(what: str) -> None:
    """Raise SeProbeError where several processes were started for what runs in one."""
    size = place_of_environment()[1]
    if size > 1:
        raise SeProbeError(f"{what} runs in one process; {size} were started, start it without torchrun.")


def batch_size_of(batch_size: int | str) -> int | None:
    """Return how many images a forward pass has, None where it is to be measured ("auto").

    Raises:
        SeProbeError: neither a number above 0 nor "auto" was given.
    """
    if batch_size == "auto":
        return None
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise SeProbeError(f'a batch of {batch_size} images was asked for; expected 1 or more, or "auto".')
    return int(batch_size)


def check_batch(batch_size: int) -> None:
    """Raise SeProbeError where a batch would be empty."""
    if batch_size < 1:
        raise SeProbeError(f"a batch of {batch_size} images was asked for; expected 1 or more.")


def number_of_channels(channels: int | str) -> int | None:
    """Return how many channels a figure shows, None for "all".

    Raises:
        SeProbeError: neither a number above 0 nor "all" was given.
    """
    if channels == "all":
        return None
    if not str(channels).isdecimal() or int(channels) < 1:
        raise SeProbeError(f'{channels!r} channels were asked for; expected a number above 0, or "all".')
    return int(channels)


def device_of(device: str | None) -> str:
    """Return the device that was asked for, once it is known to work; an accelerator by default, if any."""
    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SeProbeError(f"the device {device!r} cannot be used ({first_line(error)}); try --device cpu.") from error
    return device


def workers_of(workers: int | None) -> int:
    """Return how many processes decode images; a few by default."""
    if workers is None:
        return min(4, max(1, (os.cpu_count() or 1) - 1))
    if workers < 0:
        raise SeProbeError(f"{workers} worker processes were asked for; expected 0 or more.")
    return workers
