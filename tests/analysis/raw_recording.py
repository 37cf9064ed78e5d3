"""Recordings made of given gates, so that a test can compute the truth from them independently."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr


@dataclass(frozen=True)
class GateSite:
    name: str
    stage: int
    block: int
    channels: int
    branches: int = 1
    activation: str = "sigmoid"
    module: str = "layer.se"
    family: str = "SE"
    reduction: float | None = 16.0
    bounded: bool = True
    kernels: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the gates of an image."""
        return (self.channels,) if self.branches == 1 else (self.branches, self.channels)


def resnet50_sites(width: int = 8) -> list[GateSite]:
    """The sixteen sites of SE-ResNet-50, narrow."""
    stages = ((2, 3), (3, 4), (4, 6), (5, 3))
    blocks = [(stage, block) for stage, count in stages for block in range(1, count + 1)]
    return [GateSite(f"SE_{stage}_{block}", stage, block, width) for stage, block in blocks]


def gate_array(values: np.ndarray, classes: np.ndarray, rows: np.ndarray | None = None) -> xr.DataArray:
    """Gates of images with the coordinate `class`, and `image` where their rows are given."""
    dims = ("image", "channel") if values.ndim == 2 else ("image", "branch", "channel")
    coords = {} if rows is None else {"image": rows}
    return xr.DataArray(values, dims=dims, coords={**coords, "class": ("image", classes)})


def moments_of(raw: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Moments of the gates `(image, [branch,] channel)` of each class."""
    groups = list(raw.values())
    dims = ("class", "channel") if groups[0].ndim == 2 else ("class", "branch", "channel")
    return xr.Dataset(
        {
            "count": ("class", np.array([len(gates) for gates in groups])),
            "mean": (dims, np.stack([gates.mean(axis=0) for gates in groups])),
            "m2": (dims, np.stack([((gates - gates.mean(axis=0)) ** 2).sum(axis=0) for gates in groups])),
        },
        coords={"class": list(raw)},
    )


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
        return moments_of(self.raw[site])

    def gates(self, site: str, /) -> xr.DataArray:
        raw = {name: self.raw[site][name] for name in sorted(self.chosen)}
        values = np.concatenate(list(raw.values())).astype(np.float32)
        return gate_array(values, np.repeat(list(raw), [len(gates) for gates in raw.values()]))


def random_gates(sites: list[GateSite], counts: Mapping[str, int], seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Uniform gates of so many images of each class; those of branches add up to one."""
    rng = np.random.default_rng(seed)

    def draw(site: GateSite, images: int) -> np.ndarray:
        if site.branches == 1:
            return rng.uniform(0.05, 0.95, (images, *site.shape))
        weights = rng.uniform(0.1, 1, (images, *site.shape))
        return weights / weights.sum(axis=1, keepdims=True)

    return {site.name: {name: draw(site, images) for name, images in counts.items()} for site in sites}


def random_recording(sites: list[GateSite], chosen: list[str], counts: Mapping[str, int]) -> RawRecording:
    return RawRecording(sites, chosen, random_gates(sites, counts))


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
