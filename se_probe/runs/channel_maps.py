"""Map the most notable channels of every site in the images that open and close them, for the report."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.ablation.maps import map_images
from se_probe.gates import GateMapper
from se_probe.images import Selection
from se_probe.models import LoadedModel
from se_probe.recording import Recording
from se_probe.recording.run_folder import TABLES
from se_probe.report.channel_maps import SiteMaps, coarse, notable
from se_probe.report.explorer import extreme_images

WORDS, EFFECTS = "channel_words.csv.gz", "effect_channels.csv.gz"


def channel_maps(
    recording: Recording,
    model: LoadedModel,
    selection: Selection,
    mapper: GateMapper,
    *,
    batch_size: int,
) -> dict[str, SiteMaps]:
    """Return maps of the most notable channels of every site in the images that open and close each most.

    Notable are, in turn, the channels whose gates differ most between images, those with a word and the largest area
    under its curve, and those with the largest effects, as far as the run's tables have these.

    Args:
        recording: the recording.
        model: its network.
        selection: its images.
        mapper: where the network's gates look.
        batch_size: images in one forward pass.
    """
    tables = recording.path.parent / TABLES
    orders = {"auc": _strongest(tables / WORDS, "auc", "word"), "effect": _strongest(tables / EFFECTS, "effect")}
    selected = {entry.sample.path: place for place, entry in enumerate(selection.entries)}
    chosen: dict[str, tuple[list[int], NDArray[np.int64]]] = {}
    for site in mapper.sites:
        gates = recording.gates(site.name)
        values = gates.to_numpy() if gates.ndim == 2 else gates.to_numpy()[:, -1]
        spread = np.argsort(-values.std(axis=0), kind="stable")
        channels = notable(spread, *(order.get(site.name, []) for order in orders.values()))
        chosen[site.name] = channels, gates["image"].to_numpy()[extreme_images(values[:, channels])]
    paths = recording.images["path"]
    wanted = [
        (site, channel, selected[paths.loc[image]])
        for site, (channels, images) in chosen.items()
        for channel, row in zip(channels, images, strict=True)
        for image in row
    ]
    found: dict[str, dict[tuple[int, int], NDArray[np.float32]]] = defaultdict(dict)
    for item in map_images(model, selection, wanted, mapper=mapper, batch_size=batch_size):
        found[item.site][item.channel, item.place] = coarse(item.shares)
    return {
        site: SiteMaps(
            np.array(channels),
            images,
            np.array(
                [
                    [found[site][channel, selected[paths.loc[image]]] for image in row]
                    for channel, row in zip(channels, images, strict=True)
                ]
            ),
        )
        for site, (channels, images) in chosen.items()
    }


def _strongest(path: Path, by: str, given: str | None = None) -> dict[str, list[int]]:
    """Return the channels of each site in a table, the highest value first; those without `given` are left out."""
    if not path.is_file():
        return {}
    table = pd.read_csv(path).dropna(subset=[by] if given is None else [by, given])
    ordered = table.sort_values(by, ascending=False, kind="stable")
    return {str(site): list(dict.fromkeys(rows["channel"])) for site, rows in ordered.groupby("site")}
