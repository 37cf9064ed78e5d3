"""Show where the gates of a run look, and test in pixels whether they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from se_probe.ablation.maps import AREA, BLUR, MASKS, ImageMap, map_images, mask_images
from se_probe.analysis import sample_channels, select_sites
from se_probe.analysis.map_faithfulness import map_faithfulness
from se_probe.errors import SeProbeError
from se_probe.figures import gate_maps, model_line
from se_probe.figures.maps import MapPanel
from se_probe.gates import GateMapper
from se_probe.images import Selection, batches
from se_probe.io.log import tell
from se_probe.io.progress import progress_bar, status
from se_probe.models import LoadedModel
from se_probe.recording import Recording
from se_probe.recording.run_folder import TABLES, RunFolder
from se_probe.report.channel_maps import FILE, maps_file
from se_probe.runs.analyse import write_analysis
from se_probe.runs.artifacts import Artifacts, Drawn
from se_probe.runs.channel_maps import channel_maps
from se_probe.runs.joining import chosen_classes, join, require_same
from se_probe.runs.machine import Machine, machine_of, require_one_process
from se_probe.runs.plan import load_network, open_data, select_images
from se_probe.runs.presets import preset_of
from se_probe.runs.settings import AblateSettings, MapsSettings
from se_probe.runs.verb import verb

TABLE = "gate_map_faithfulness.csv"
SHOWN_CHANNELS, TESTED_CHANNELS = 3, 4
EACH_END = 3
"""Images that open a channel most, and as many that close it most, in the figures."""
SIDE = 96
"""Longest side of a thumbnail in pixels."""
_SHARED = ("run", "data", "model", "checkpoint", "random_weights", "model_args", "input_size", "progress")


@dataclass(frozen=True)
class MapRun:
    """Where the gates of a run look.

    Attributes:
        path: the run's folder, in which `figures/` and `tables/` are.
        faithfulness: the table of `map_faithfulness`.
        figures: site → figure, which shows itself in a notebook.
    """

    path: Path
    faithfulness: pd.DataFrame = field(repr=False)
    figures: Mapping[str, Figure] = field(repr=False)


@verb(MapsSettings)
def maps(settings: MapsSettings) -> MapRun:
    """Draw where gates of a run look, and test by masking pixels whether its maps hold there.

    A map is exact on the feature grid. Whether the pixels at the same place are what the gate sees is tested at every
    site: a fifth of the pixels is blurred where the map is highest, where it is lowest, and at random. Only where
    masking by the map moves the logit more than masking at random are maps drawn over the pixels.

    Returns:
        The table of the test and the figures. They are in the run's folder, too: `tables/gate_map_faithfulness.csv` and
        `figures/gate_maps.SITE`.

    Raises:
        SeProbeError: an input cannot be used, or a site that was named has no maps.

    Source: class activation maps, Zhou et al., arXiv 1512.04150; masking as a test: Samek et al., arXiv 1509.06321.
    """
    require_one_process("a gate map")
    machine = machine_of(settings, settings.batch_size)
    plan = _plan(settings, machine)
    _check_channels(plan, settings.channels)
    channels = {
        name: sample_channels(plan.channels(name), TESTED_CHANNELS, settings.seed).tolist() for name in plan.sites
    }
    table = _tested(plan, channels, settings)
    artifacts = Artifacts(plan.folder.path)
    artifacts.tables({TABLE: table})
    with status("drawing maps", shown=settings.progress):
        drawn = {site: _drawn(plan, site, settings.channels, table) for site in plan.sites}
        noted = channel_maps(
            plan.recording, plan.model, plan.selection, plan.mapper, batch_size=machine.batch_size or 1
        )
    artifacts.figures(drawn.values())
    artifacts.file(f"{TABLES}/{FILE}", maps_file(noted))
    better = int(table["better_than_random"].sum())
    tell("maps", f"{len(table)} sites; better than random in pixels at {better} of them ({plan.folder.tables / TABLE})")
    if settings.report:
        write_analysis(plan.recording, data=settings.data, progress=settings.progress)
    return MapRun(plan.folder.path, table, {site: item.figure for site, item in drawn.items()})


@dataclass(frozen=True)
class _Planned:
    """A run whose gates are mapped."""

    recording: Recording
    model: LoadedModel
    mapper: GateMapper
    selection: Selection
    sites: list[str]
    machine: Machine

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.recording.path.parent)

    def channels(self, site: str) -> int:
        return self.recording.site(site).channels


def _plan(settings: MapsSettings, machine: Machine) -> _Planned:
    asked, recording = join(AblateSettings(**{name: getattr(settings, name) for name in _SHARED}))
    if recording is None:
        raise TypeError("no run was named")
    reference = recording.provenance["data"]["reference_per_class"]
    asked = replace(asked, classes=chosen_classes(recording), reference_per_class=reference)
    preset = preset_of(None)
    model = load_network(asked, preset.model)
    selection = select_images(asked, open_data(asked, model), preset)
    require_same(recording, model, selection)
    model.network.to(machine.device)
    with status("finding maps", shown=settings.progress):
        mapper = GateMapper(model.network, settings.sites, input_size=model.input_size)
    for name, why in mapper.refused.items():
        tell("note", f"{name} has no gate map, because {why}")
    mapped = {site.name for site in mapper.sites}
    sites = select_sites([site for site in recording.sites if site.name in mapped], settings.sites)
    return _Planned(recording, model, mapper, selection, [site.name for site in sites], machine)


def _check_channels(plan: _Planned, channels: Sequence[int] | None) -> None:
    for site in plan.sites:
        beyond = [str(int(channel)) for channel in channels or () if channel >= plan.channels(site)]
        if beyond:
            raise SeProbeError(
                f"channels {', '.join(beyond)} of {site} were asked for; it has 0 to {plan.channels(site) - 1}."
            )


def _tested(plan: _Planned, channels: Mapping[str, Sequence[int]], settings: MapsSettings) -> pd.DataFrame:
    """Mask images of the chosen classes, drawn at random, and return the table of what that does."""
    chosen = [entry for entry in plan.selection.entries if entry.role == "chosen"]
    order = np.random.default_rng(settings.seed).permutation(len(chosen))[: settings.images]
    entries = tuple(chosen[place] for place in sorted(order))
    passes = len(entries) * len(MASKS) * sum(map(len, channels.values()))
    with progress_bar("masking", passes, shown=settings.progress) as progress:
        masked = mask_images(
            plan.model,
            plan.mapper,
            replace(plan.selection, entries=entries),
            channels,
            seed=settings.seed,
            batch_size=settings.batch_size,
            workers=plan.machine.workers,
            progress=progress,
        )
    return map_faithfulness(masked).assign(area=AREA, blur=BLUR, seed=settings.seed)


def _drawn(plan: _Planned, site: str, channels: Sequence[int] | None, table: pd.DataFrame) -> Drawn:
    """Draw the maps of a site's channels in the images that open and close each most."""
    gates = plan.recording.gates(site)
    values = gates.to_numpy() if gates.ndim == 2 else gates.to_numpy()[:, -1]
    spread = np.argsort(-values.std(0), kind="stable")[:SHOWN_CHANNELS]
    shown = [int(channel) for channel in (spread if channels is None else channels)]
    rows = {channel: _ends(values[:, channel]) for channel in shown}
    places = _places(plan)
    images = plan.recording.images.loc[gates["image"].to_numpy()].reset_index(drop=True)
    wanted = [(site, channel, places[images["path"][row]]) for channel, chosen in rows.items() for row in chosen]
    found = {(item.channel, item.place): item for item in _mapped(plan, wanted)}
    pictures = _pictures(plan, {place for _, _, place in wanted})
    panels, numbers = [], []
    for channel, chosen in rows.items():
        line = []
        for row in chosen:
            item, label, gate = found[channel, places[images["path"][row]]], images["class"][row], values[row, channel]
            line.append(MapPanel(channel, pictures[item.place], item.shares, label, float(gate)))
            numbers.append(_numbers(item).assign(path=images["path"][row], **{"class": label}, gate=float(gate)))
        panels.append(line)
    better = bool(table.set_index("site").loc[site, "better_than_random"])
    caption = (
        f"{model_line(plan.recording.provenance['model'])} · the images that open and that close each channel most"
    )
    figure = gate_maps(panels, site=site, in_pixels=better, demo=plan.recording.demo, caption=caption)
    return Drawn(figure, pd.concat(numbers, ignore_index=True), f"gate_maps.{site}")


def _ends(values: NDArray[np.floating]) -> list[int]:
    """Return the rows of the highest values and of the lowest, each once, from high to low."""
    order = np.argsort(-values, kind="stable").tolist()
    return list(dict.fromkeys([*order[:EACH_END], *order[-EACH_END:]]))


def _places(plan: _Planned) -> dict[str, int]:
    return {entry.sample.path: place for place, entry in enumerate(plan.selection.entries)}


def _mapped(plan: _Planned, wanted: Sequence[tuple[str, int, int]]) -> list[ImageMap]:
    size = plan.machine.batch_size or 1
    return list(map_images(plan.model, plan.selection, wanted, mapper=plan.mapper, batch_size=size))


def _numbers(item: ImageMap) -> pd.DataFrame:
    """Return a map as a table, a row a position."""
    row, column = np.indices(item.shares.shape)
    cells = pd.DataFrame({"row": row.ravel(), "column": column.ravel(), "share": item.shares.ravel()})
    return cells.assign(site=item.site, channel=item.channel, logit=item.logit, bias=item.bias, residual=item.residual)


def _pictures(plan: _Planned, places: set[int]) -> dict[int, NDArray[np.float32]]:
    """Return thumbnails of images as the network sees them, `(height, width, 3)` from 0 to 1."""
    chosen = sorted(places)
    selection = replace(plan.selection, entries=tuple(plan.selection.entries[place] for place in chosen))
    found = {}
    for batch in batches(selection, plan.model.transform, batch_size=plan.machine.batch_size or 1, workers=0):
        for index, image in zip(batch.indices, batch.images, strict=True):
            found[chosen[index]] = picture_of(image, plan.model.preprocessing)
    return found


def picture_of(image: torch.Tensor, preprocessing: Mapping[str, object]) -> NDArray[np.float32]:
    """Return a network's input as an image, `(height, width, 3)` from 0 to 1.

    Args:
        image: `(3, height, width)`.
        preprocessing: mean and standard deviation of the network's input; without, the range is stretched.
    """
    mean, std = (preprocessing.get(name) for name in ("mean", "std"))
    values = image.float().numpy().transpose(1, 2, 0)
    if isinstance(mean, Sequence) and isinstance(std, Sequence):
        values = values * np.asarray(std, dtype=np.float32) + np.asarray(mean, dtype=np.float32)
    else:
        values = (values - values.min()) / max(float(np.ptp(values)), 1e-6)
    small = Image.fromarray(np.uint8(255 * np.clip(values, 0, 1)))
    small.thumbnail((SIDE, SIDE))
    return np.asarray(small, dtype=np.float32) / np.float32(255)
