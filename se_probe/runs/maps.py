"""Show where the gates of a run look, and test in pixels whether they do."""

from __future__ import annotations

from collections import defaultdict
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
from se_probe.report.channel_maps import FILE, SiteMaps, coarse, maps_file, notable
from se_probe.report.explorer import extreme_images
from se_probe.runs.analyse import update_report
from se_probe.runs.artifacts import Artifacts, Drawn
from se_probe.runs.joining import join, require_same, with_classes
from se_probe.runs.options import verb
from se_probe.runs.plan import Machine, load_inputs, machine_of, require_one_process
from se_probe.runs.settings import AblateSettings, MapsSettings

TABLE = "gate_map_faithfulness.csv"
WORDS, EFFECTS = "channel_words.csv.gz", "effect_channels.csv.gz"
SHOWN_CHANNELS, TESTED_CHANNELS = 3, 4
EACH_END = 3
"""Images in the figures that open a channel most, and as many that close it most."""
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

    A map is exact on the feature grid. Whether the gate depends on the pixels at the same position is tested at every
    site: a fifth of the pixels is blurred where the map is highest, where it is lowest, and at random. Maps are drawn
    over the pixels only if masking by the map moves the logit more than masking at random.

    Returns:
        The table of the test and the figures. They are in the run's folder, too: `tables/gate_map_faithfulness.csv` and
        `figures/gate_maps.SITE`.

    Raises:
        SeProbeError: an input cannot be used, or a site that was named has no maps.

    Source: class activation maps, Zhou et al., arXiv 1512.04150; masking as a test: Samek et al., arXiv 1509.06321.
    """
    require_one_process("a gate map")
    plan = _plan(settings)
    table = _tested(plan, settings)
    folder = RunFolder(plan.recording.path.parent)
    artifacts = Artifacts(folder.path)
    artifacts.tables({TABLE: table})
    with status("drawing maps", shown=settings.progress):
        drawn = {site: _drawn(plan, site, settings, table) for site in plan.sites}
        kept = channel_maps(plan.recording, plan.model, plan.selection, plan.mapper, batch_size=settings.batch_size)
    artifacts.figures(drawn.values())
    artifacts.file(f"{TABLES}/{FILE}", maps_file(kept))
    better = int(table["better_than_random"].sum())
    tell("maps", f"{len(table)} sites; better than random in pixels at {better} of them ({folder.tables / TABLE})")
    if settings.report:
        update_report(plan.recording, data=settings.data, progress=settings.progress)
    return MapRun(folder.path, table, {site: item.figure for site, item in drawn.items()})


@dataclass(frozen=True)
class _Planned:
    """A run whose gates are mapped, and the sites that have maps."""

    recording: Recording
    model: LoadedModel
    mapper: GateMapper
    selection: Selection
    sites: list[str]
    machine: Machine


def _plan(settings: MapsSettings) -> _Planned:
    machine = machine_of(settings, settings.batch_size)
    completed, recording = join(AblateSettings(**{name: getattr(settings, name) for name in _SHARED}))
    if recording is None:
        raise TypeError("no run was named")
    completed = with_classes(completed, recording)
    model, selection = load_inputs(completed)
    require_same(recording, model, selection)
    model.network.to(machine.device)
    with status("finding maps", shown=settings.progress):
        mapper = GateMapper(model.network, settings.sites, input_size=model.input_size)
    for name, why in mapper.refused.items():
        tell("note", f"{name} has no gate map, because {why}")
    mapped = {site.name for site in mapper.sites}
    sites = select_sites([site for site in recording.sites if site.name in mapped], settings.sites)
    for site in sites:
        beyond = [str(int(channel)) for channel in settings.channels or () if channel >= site.channels]
        if beyond:
            raise SeProbeError(
                f"channels {', '.join(beyond)} of {site.name} were requested; it has 0 to {site.channels - 1}."
            )
    return _Planned(recording, model, mapper, selection, [site.name for site in sites], machine)


def _tested(plan: _Planned, settings: MapsSettings) -> pd.DataFrame:
    """Mask random images of the chosen classes, and return the table of the effects."""
    channels = {
        name: sample_channels(plan.recording.site(name).channels, TESTED_CHANNELS, settings.seed).tolist()
        for name in plan.sites
    }
    chosen = [entry for entry in plan.selection.entries if entry.role == "chosen"]
    order = np.random.default_rng(settings.seed).permutation(len(chosen))[: settings.images]
    entries = tuple(chosen[index] for index in sorted(order))
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


def _drawn(plan: _Planned, site: str, settings: MapsSettings, table: pd.DataFrame) -> Drawn:
    """Draw the maps of a site's channels in the images that open and close each most."""
    numbers, values = _gates(plan.recording, site)
    images = plan.recording.images.loc[numbers].reset_index(drop=True)
    shown = [int(channel) for channel in settings.channels or _spread_order(values)[:SHOWN_CHANNELS]]
    rows = {channel: _ends(values[:, channel]) for channel in shown}
    positions = _positions(plan.selection)
    wanted = [(site, channel, positions[images["path"][row]]) for channel, chosen in rows.items() for row in chosen]
    size = settings.batch_size
    mapped = map_images(plan.model, plan.selection, wanted, mapper=plan.mapper, batch_size=size)
    by_image = {(item.channel, item.place): item for item in mapped}
    pictures = _pictures(plan, {position for _, _, position in wanted}, size)
    panels, tables = [], []
    for channel, chosen in rows.items():
        line = []
        for row in chosen:
            path, label, gate = images["path"][row], images["class"][row], float(values[row, channel])
            item = by_image[channel, positions[path]]
            line.append(MapPanel(channel, pictures[item.place], item.shares, label, gate))
            tables.append(_cells(item).assign(path=path, **{"class": label}, gate=gate))
        panels.append(line)
    better = bool(table.set_index("site").loc[site, "better_than_random"])
    network = model_line(plan.recording.provenance["model"])
    caption = f"{network} · the images that open and that close each channel most"
    figure = gate_maps(panels, site=site, in_pixels=better, demo=plan.recording.demo, caption=caption)
    return Drawn(figure, pd.concat(tables, ignore_index=True), f"gate_maps.{site}")


def _gates(recording: Recording, site: str) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return the numbers of the images with gates, and a site's gates `(image, channel)`, of its last branch."""
    gates = recording.gates(site)
    values = gates.to_numpy()
    return gates["image"].to_numpy(), values if values.ndim == 2 else values[:, -1]


def _spread_order(values: NDArray[np.floating]) -> NDArray[np.intp]:
    """Order channels by the standard deviation of their gates, the largest first."""
    return np.argsort(-values.std(axis=0), kind="stable")


def _ends(values: NDArray[np.floating]) -> list[int]:
    """Return the rows of the highest values and of the lowest, each once, from high to low."""
    order = np.argsort(-values, kind="stable").tolist()
    return list(dict.fromkeys([*order[:EACH_END], *order[-EACH_END:]]))


def _positions(selection: Selection) -> dict[str, int]:
    return {entry.sample.path: position for position, entry in enumerate(selection.entries)}


def _cells(item: ImageMap) -> pd.DataFrame:
    """Return a map as a table, one row per cell."""
    row, column = np.indices(item.shares.shape)
    cells = pd.DataFrame({"row": row.ravel(), "column": column.ravel(), "share": item.shares.ravel()})
    return cells.assign(site=item.site, channel=item.channel, logit=item.logit, bias=item.bias, residual=item.residual)


def _pictures(plan: _Planned, positions: set[int], batch_size: int) -> dict[int, NDArray[np.float32]]:
    """Return thumbnails of images as the network sees them, by position in the selection."""
    chosen = sorted(positions)
    selection = replace(plan.selection, entries=tuple(plan.selection.entries[position] for position in chosen))
    return {
        chosen[index]: picture_of(image, plan.model.preprocessing)
        for batch in batches(selection, plan.model.transform, batch_size=batch_size, workers=0)
        for index, image in zip(batch.indices, batch.images, strict=True)
    }


def picture_of(image: torch.Tensor, preprocessing: Mapping[str, object]) -> NDArray[np.float32]:
    """Return a network's input as an image, `(height, width, 3)` from 0 to 1.

    Without mean and standard deviation in the preprocessing its range is stretched.
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


def channel_maps(
    recording: Recording, model: LoadedModel, selection: Selection, mapper: GateMapper, *, batch_size: int
) -> dict[str, SiteMaps]:
    """Map the most notable channels of every site in the images that open and close each most, for the report.

    Notable are, in turn, the channels whose gates differ most between images, those with a word and the largest area
    under its curve, and those with the largest effects, as far as the run's tables have these.
    """
    tables = recording.path.parent / TABLES
    orders = (_strongest(tables / WORDS, "auc", "word"), _strongest(tables / EFFECTS, "effect"))
    chosen: dict[str, tuple[list[int], NDArray[np.int64]]] = {}
    for site in mapper.sites:
        numbers, values = _gates(recording, site.name)
        channels = notable(_spread_order(values), *(order.get(site.name, []) for order in orders))
        chosen[site.name] = channels, numbers[extreme_images(values[:, channels])]
    positions, paths = _positions(selection), recording.images["path"]
    wanted = [
        (site, channel, positions[paths.loc[image]])
        for site, (channels, images) in chosen.items()
        for channel, row in zip(channels, images, strict=True)
        for image in row
    ]
    shares: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    by_gate = {
        (item.site, item.channel, item.place): coarse(item.shares)
        for item in map_images(model, selection, wanted, mapper=mapper, batch_size=batch_size)
    }
    for key in wanted:
        shares[key[0]].append(by_gate[key])
    return {
        site: SiteMaps(np.array(channels), images, np.reshape(shares[site], (*images.shape, *shares[site][0].shape)))
        for site, (channels, images) in chosen.items()
    }


def _strongest(path: Path, by: str, *required: str) -> dict[str, list[int]]:
    """Return the channels of each site in a table, the highest value first, without rows that lack a value."""
    if not path.is_file():
        return {}
    ordered = pd.read_csv(path).dropna(subset=[by, *required]).sort_values(by, ascending=False, kind="stable")
    return {str(site): list(dict.fromkeys(rows["channel"])) for site, rows in ordered.groupby("site")}
