"""Maps of the most notable channels: their file in a run's folder, and their packed form for a page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.figures.maps import COLOURS
from se_probe.recording import Recording
from se_probe.report.page import packed, packed_integers

FILE = "channel_maps.npz"
"""In the folder of tables."""
FAITHFULNESS = "gate_map_faithfulness.csv"
CHANNELS = 12
"""Channels of a site that have maps."""
FINEST = 16
"""Most cells per side; finer maps are summed in blocks."""
_ZERO, _REACH = 128, 127
_PALETTE = 65


@dataclass(frozen=True)
class SiteMaps:
    """Maps of some channels of a site.

    Attributes:
        channels: `(channel,)`, which channels.
        images: `(channel, image)`, numbers of the images in the recording.
        maps: `(channel, image, height, width)`, what each cell adds to the gate's logit.
    """

    channels: NDArray[np.int64]
    images: NDArray[np.int64]
    maps: NDArray[np.float32]


def notable(*orders: Sequence[int] | NDArray[np.integer], count: int = CHANNELS) -> list[int]:
    """Merge several rankings of channels: take the next of each in turn, every channel once."""
    longest = max(map(len, orders), default=0)
    turns = [int(order[turn]) for turn in range(longest) for order in orders if turn < len(order)]
    return list(dict.fromkeys(turns))[:count]


def coarse(shares: NDArray[np.floating]) -> NDArray[np.float32]:
    """Sum the cells of a map, `(height, width)`, in square blocks, so that no side has more than `FINEST`."""
    block = -(-max(shares.shape) // FINEST)
    starts = [np.arange(0, side, block) for side in shares.shape]
    summed = np.add.reduceat(np.add.reduceat(shares.astype(np.float64), starts[0], axis=0), starts[1], axis=1)
    return np.asarray(summed, dtype=np.float32)


def maps_file(maps: Mapping[str, SiteMaps]) -> bytes:
    """Return maps of sites as the content of `FILE`."""
    stream = BytesIO()
    parts = {f"{site}.{name}": values for site, item in maps.items() for name, values in vars(item).items()}
    np.savez_compressed(stream, **parts)
    return stream.getvalue()


def read_maps(tables: Path) -> dict[str, SiteMaps]:
    """Return the maps in a folder of tables, by site; empty if there are none."""
    if not (tables / FILE).is_file():
        return {}
    with np.load(tables / FILE, allow_pickle=False) as stored:
        sites = dict.fromkeys(name.rpartition(".")[0] for name in stored.files)
        return {
            site: SiteMaps(*(stored[f"{site}.{name}"] for name in ("channels", "images", "maps"))) for site in sites
        }


def maps_data(recording: Recording, tables: Path, positions: Mapping[int, int]) -> dict[str, Any] | None:
    """Return maps for a page as JSON-able values, None where a run has none.

    `positions` maps the number of a recorded image to its position on the page.

    Returns:
        `palette`, colours from the lowest to the highest value; `crop`, the side of the central square that the
        network sees as a share of the image's shorter side, None where it is not known; and `sites` by name:
        `channels`, `images` (positions on the page), `limits`, the largest absolute value of each channel, `codes`,
        bytes in which `_ZERO` stands for 0 and `_ZERO` ± `_REACH` for the limits, and `inPixels`, whether masking by
        the maps moved the logit more than chance.
    """
    maps = read_maps(tables)
    if not maps:
        return None
    shade = mpl.colormaps[COLOURS](np.linspace(0, 1, _PALETTE), bytes=True)[:, :3]
    crop = _crop(recording.provenance["model"]["preprocessing"])
    better = set()
    if crop is not None and (tables / FAITHFULNESS).is_file():
        faithfulness = pd.read_csv(tables / FAITHFULNESS)
        better = set(faithfulness.loc[faithfulness["better_than_random"], "site"])
    return {
        "palette": b64encode(shade.tobytes()).decode("ascii"),
        "crop": crop,
        "sites": {
            site: {**_site(item, positions), "inPixels": site in better}
            for site, item in maps.items()
            if np.isin(item.images, list(positions)).all()
        },
    }


def _site(item: SiteMaps, positions: Mapping[int, int]) -> dict[str, Any]:
    limits = np.abs(item.maps).max(axis=(1, 2, 3))
    scaled = item.maps / np.where(limits > 0, limits, 1)[:, None, None, None]
    codes = np.rint(_ZERO + _REACH * scaled).astype(np.uint8)
    return {
        "channels": item.channels.tolist(),
        "shape": list(item.maps.shape[1:]),
        "images": packed_integers(np.vectorize(positions.__getitem__, otypes=[np.int64])(item.images)),
        "limits": packed(limits),
        "codes": b64encode(codes.tobytes()).decode("ascii"),
    }


def _crop(preprocessing: Mapping[str, Any]) -> float | None:
    """The share of the shorter side that a central square crop keeps, None without such a crop."""
    share, size = preprocessing.get("crop_pct"), preprocessing.get("input_size", ())
    central = preprocessing.get("crop_mode", "center") == "center" and len(size) == 3 and size[1] == size[2]
    return min(float(share), 1.0) if central and isinstance(share, int | float) else None
