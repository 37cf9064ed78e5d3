"""Resolve and check a run's inputs before anything is written: network, gates, images, device."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from se_probe.analysis import default_within, select_sites
from se_probe.errors import SeProbeError, first_line
from se_probe.gates import Discovery, discover, require_gates
from se_probe.gates.branches import cardinality
from se_probe.images import ImageSet, Selection, demo_images, open_images, select
from se_probe.io.log import tell
from se_probe.io.progress import status
from se_probe.labels import ImageClass, LabelSpace
from se_probe.models import LoadedModel, load_model, model_of, with_input_size
from se_probe.recording import place_of_environment, provenance_of
from se_probe.runs.options import OnResume
from se_probe.runs.presets import DEFAULT, Preset
from se_probe.runs.settings import LookSettings
from se_probe.runs.shared_settings import MachineSettings, ReferenceSettings, RunSettings

# Classes chosen from data that lack the paper's.
CLASSES_BY_DEFAULT = 4


def require_one_process(what: str) -> None:
    """Raise SeProbeError if several processes were started for a command that runs in one."""
    size = place_of_environment()[1]
    if size > 1:
        raise SeProbeError(f"{what} runs in one process; {size} were started; start it without torchrun.")


@dataclass(frozen=True)
class Machine:
    """Where a network runs.

    Attributes:
        device: torch device.
        workers: number of processes that decode images.
        batch_size: images in one forward pass, None to measure which is fastest.
    """

    device: str
    workers: int
    batch_size: int | None


def machine_of(settings: MachineSettings, batch_size: int | str) -> Machine:
    """Resolve and check where the network runs."""
    workers = min(4, max(1, (os.cpu_count() or 1) - 1)) if settings.workers is None else settings.workers
    return Machine(device_of(settings.device), workers, batch_size if isinstance(batch_size, int) else None)


def device_of(device: str | None) -> str:
    """Return the given device after a trial computation; by default an accelerator if there is one."""
    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        (torch.zeros(1, device=device) + 1).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, ValueError, TypeError) as error:
        raise SeProbeError(f"the device {device!r} cannot be used ({first_line(error)}); try --device cpu.") from error
    return device


@dataclass(frozen=True)
class Plan:
    """The checked inputs of a run: the network, its gates to record, the images, the machine, and how many ranks."""

    settings: RunSettings
    model: LoadedModel
    discovery: Discovery
    selection: Selection
    machine: Machine
    ranks: int = 1

    @property
    def options(self) -> dict[str, Any]:
        """Every option as given, except where results go."""
        return self.settings.kept(*(role for role in OnResume if role is not OnResume.PLACE))

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance of a recording of this plan."""
        given = self.settings.kept(OnResume.IDENTITY, OnResume.FREE)
        facts = provenance_of(
            self.model,
            self.selection,
            command=self.settings.started_by,
            settings={**given, "device": self.machine.device, "workers": self.machine.workers, "ranks": self.ranks},
            spatial_maps={item.module: item.count for item in self.discovery.spatial_maps},
            demo=self.settings.uses_demo or self.model.source == "demo",
        )
        split = [site for site in self.discovery.sites if site.family == "split attention"]
        groups = {site.name: cardinality(self.model.network, site) for site in split}
        known = {name: number for name, number in groups.items() if number is not None}
        return {**facts, "cardinality": known, "free_settings": [*self.settings.kept(OnResume.FREE), "ranks"]}


def plan_run(
    settings: RunSettings,
    model: LoadedModel,
    selection: Selection,
    machine: Machine,
    *,
    record_sites: Sequence[str] | None = None,
    ranks: int = 1,
) -> Plan:
    """Find the gates of a network, of some sites only if `record_sites` are given, and plan a run over the images."""
    with status("finding gates", shown=settings.progress):
        discovery = discover(model.network, model.input_size)
    require_gates(model.name, discovery)
    if record_sites is not None:
        wanted = select_sites(discovery.sites, record_sites)
        sites = [site for site in discovery if site in wanted]
        discovery = Discovery(sites, discovery.left_out, discovery.input_size)
    tell("gates", describe_gates(discovery))
    return Plan(settings, model, discovery, selection, machine, ranks)


def describe_gates(discovery: Discovery) -> str:
    """Describe discovered gates in one line: number, families, names, and what is not recorded."""
    sites, maps = discovery.sites, discovery.spatial_maps
    families = ", ".join(dict.fromkeys(site.family for site in sites))
    channels = sum(site.channels * site.branches for site in sites)
    line = f"{len(sites)} {families} sites, {sites[0].name} to {sites[-1].name}, {channels} channels in all"
    if maps:
        places = ", ".join(item.module or "the network itself" for item in maps)
        line += f"; not recorded: products with spatial maps, {sum(item.count for item in maps)} ({places})"
    return line


def label_of(network: str | torch.nn.Module | LoadedModel) -> str:
    """Return the name of a network for a run's folder."""
    if isinstance(network, LoadedModel):
        return network.name
    return network if isinstance(network, str) else type(network).__name__


def load_network(settings: RunSettings | LookSettings, default: str) -> LoadedModel:
    """Return the network of a run: loaded by name, wrapped from memory, or as given."""
    network = settings.network(default)
    if isinstance(network, torch.nn.Module):
        model = model_of(network)
    elif isinstance(network, LoadedModel):
        model = network
    else:
        model = load_model(
            network,
            checkpoint=settings.checkpoint,
            model_args=settings.model_args,
            random_weights=settings.random_weights,
            seed=settings.seed,
        )
    if settings.input_size is not None:
        model = with_input_size(model, settings.input_size)
    tell("model", f"{model.name}: {model.weights} (sha256 {model.weights_sha256[:12]})")
    return model


def load_inputs(
    settings: ReferenceSettings, preset: Preset = DEFAULT, *, unlabelled: bool = False
) -> tuple[LoadedModel, Selection]:
    """Load the network of a run and select its images, which may be `unlabelled`."""
    model = load_network(settings, preset.model)
    return model, select_images(settings, open_data(settings, model, unlabelled=unlabelled), preset)


def open_data(settings: RunSettings, model: LoadedModel, *, unlabelled: bool = False) -> ImageSet:
    """Open the images of a run: the demo's drawings, or `data`."""
    if settings.uses_demo and settings.data is not None:
        raise SeProbeError(
            f"both the demo and the data {settings.data} were requested; choose one of --demo and --data."
        )
    if settings.uses_demo:
        images = demo_images()
    elif settings.data is None:
        raise SeProbeError(
            "no images were given; expected a folder of labelled images with --data DIR (or SE_PROBE_DATA in the "
            "environment), or --demo for the bundled drawings."
        )
    else:
        images = open_images(settings.data, model.labels, unlabelled=unlabelled)
    ignored = f", {images.ignored} other files ignored" if images.ignored else ""
    tell("data", f"{images.title}: {images.layout}{ignored}")
    return images


def select_images(settings: ReferenceSettings, images: ImageSet, preset: Preset) -> Selection:
    """Choose classes and select their images."""
    chosen = resolve_classes(images.labels, settings.classes or default_classes(images, preset))
    per_class, others = settings.per_class, settings.reference_per_class
    reference = per_class if others is None else others
    selection = select(images, chosen, per_class=per_class, reference_per_class=reference, seed=settings.seed)
    counted = f"{len(selection.entries)} of {len(images.samples)}"
    tell("images", f"{counted}: {selection.rule.partition(':')[0]}")
    tell("rule", selection.rule, logging.DEBUG)
    return selection


def resolve_classes(labels: LabelSpace, classes: str | Sequence[str]) -> list[ImageClass]:
    """Resolve names to classes, and log them."""
    resolutions = labels.resolve_all(classes)
    tell("classes", ", ".join(item.image_class.describe() for item in resolutions))
    for item in resolutions:
        if item.note:
            tell("note", item.note)
    return [item.image_class for item in resolutions]


def default_classes(images: ImageSet, preset: Preset) -> list[str]:
    """Return the classes of a preset that have images, filled up to four from the data.

    Of the data's classes, those with an output unit come first; each kind is spread evenly over the label order.
    """
    if len(images.classes) == 1:
        return [images.classes[0].wnid or images.classes[0].name]
    wanted = preset.classes.split(",")
    chosen: list[ImageClass] = []
    for name in wanted:
        with suppress(SeProbeError):
            chosen += [item for item in [images.labels.resolve(name).image_class] if item in images.counts]
    if len(chosen) < len(wanted):
        others = [item for item in images.classes if item not in chosen]
        for pool in ([c for c in others if c.index is not None], [c for c in others if c.index is None]):
            chosen += _spread(pool, CLASSES_BY_DEFAULT - len(chosen))
        tell(
            "note",
            f"the data lack images of some of {', '.join(wanted)}; chosen from the data instead: "
            f"{', '.join(item.name for item in chosen)} (choose others with --classes)",
        )
    return [item.wnid or item.name for item in chosen]


def _spread(classes: Sequence[ImageClass], count: int) -> list[ImageClass]:
    """Return up to `count` classes at equal steps over the list."""
    count = max(0, min(count, len(classes)))
    return [classes[(2 * step + 1) * len(classes) // (2 * count)] for step in range(count)]


def classes_within(selection: Selection, within: str | Sequence[str] | None) -> list[str]:
    """Return the classes of the within-class figure."""
    chosen = selection.chosen
    if within is None:
        return default_within([item.name for item in chosen])
    resolved = [item.image_class for item in selection.images.labels.resolve_all(within)]
    for item in resolved:
        if item not in chosen:
            raise SeProbeError(
                f"{item.describe()} is requested within classes but is not among the chosen classes "
                f"({', '.join(other.name for other in chosen)}); add it to --classes."
            )
    return [item.name for item in resolved]
