"""A recording made of given gates, with what the measures read of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from tests.analysis.stand_in import Site


@dataclass(frozen=True)
class GateSite(Site):
    bounded: bool = True


@dataclass
class RawRecording:
    """`raw[site][class]` is the array `(image, [branch,] channel)`; the gates of chosen classes can be read."""

    sites: list[GateSite]
    chosen: list[str]
    raw: Mapping[str, Mapping[str, np.ndarray]]
    wnids: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> pd.DataFrame:
        names = list(next(iter(self.raw.values())))
        return pd.DataFrame({"name": names, "wnid": [self.wnids.get(name) for name in names]})

    def moments(self, site: str, /) -> xr.Dataset:
        raw = list(self.raw[site].values())
        dims = ("class", "channel") if raw[0].ndim == 2 else ("class", "branch", "channel")
        return xr.Dataset(
            {
                "count": ("class", np.array([len(gates) for gates in raw])),
                "mean": (dims, np.stack([gates.mean(axis=0) for gates in raw])),
                "m2": (dims, np.stack([((gates - gates.mean(axis=0)) ** 2).sum(axis=0) for gates in raw])),
            },
            coords={"class": list(self.raw[site])},
        )

    def gates(self, site: str, /) -> xr.DataArray:
        raw = {name: self.raw[site][name] for name in sorted(self.chosen)}
        values = np.concatenate(list(raw.values())).astype(np.float32)
        dims = ("image", "channel") if values.ndim == 2 else ("image", "branch", "channel")
        classes = np.repeat(list(raw), [len(gates) for gates in raw.values()])
        return xr.DataArray(values, dims=dims, coords={"class": ("image", classes)})


SITES = [
    GateSite("SE_2_1", 2, 1, 6),
    GateSite("SE_3_1", 3, 1, 6),
    GateSite("SK_4_1", 4, 1, 3, branches=2, family="SK", activation="softmax"),
    GateSite("SE_5_1", 5, 1, 6),
]
COUNTS = {"goldfish": 20, "pug": 14, "cliff": 8, "airliner": 20, "tabby": 11, "banana": 9}
WNIDS = {
    "goldfish": "n01443537",
    "pug": "n02110958",
    "cliff": "n09246464",
    "airliner": "n02690373",
    "tabby": "n02123045",
    "banana": "n07753592",
}


def mixed_recording(seed: int = 0) -> RawRecording:
    """A live site, one whose gates have collapsed to 0.5, an SK site and a saturated site."""
    rng = np.random.default_rng(seed)
    raw = {site.name: {} for site in SITES}
    for name, images in COUNTS.items():
        pattern = 0.1 * rng.normal(size=6) + 0.08 * rng.normal(size=(images, 6))
        raw["SE_2_1"][name] = np.clip(0.5 + pattern, 0, 1)
        raw["SE_3_1"][name] = 0.5 + 1e-3 * pattern
        larger = np.clip(0.4 + pattern[:, :3], 0.01, 0.99)
        raw["SK_4_1"][name] = np.stack([larger, 1 - larger], axis=1)
        raw["SE_5_1"][name] = np.where(np.arange(6) < 4, 0.99, 0.01) + 1e-3 * pattern
    return RawRecording(SITES, ["pug", "goldfish", "airliner"], raw, WNIDS)
