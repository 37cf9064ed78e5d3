"""A recording made of raw arrays, so that a test can compute the truth from them independently."""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr


@dataclass(frozen=True)
class Site:
    name: str
    stage: int
    block: int
    channels: int
    branches: int = 1
    activation: str = "sigmoid"
    module: str = "layer.se"
    family: str = "SE"
    reduction: float | None = 16.0


def resnet50_sites(width: int = 8) -> list[Site]:
    """The sixteen sites of SE-ResNet-50, narrow."""
    return [
        Site(f"SE_{stage}_{block}", stage, block, width)
        for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3))
        for block in range(1, blocks + 1)
    ]


@dataclass
class StandIn:
    """`raw[site][class]` is the array `(image, [branch,] channel)`, float64."""

    sites: list[Site]
    chosen: list[str]
    counts: dict[str, int]
    seed: int = 0
    raw: dict[str, dict[str, np.ndarray]] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.raw = {site.name: {c: _gates(rng, site, n) for c, n in self.counts.items()} for site in self.sites}

    def moments(self, site: str, /) -> xr.Dataset:
        raw = self.raw[site]
        means = {name: gates.mean(axis=0) for name, gates in raw.items()}
        m2 = [((gates - means[name]) ** 2).sum(axis=0) for name, gates in raw.items()]
        inner = ["channel"] if m2[0].ndim == 1 else ["branch", "channel"]
        dims = ["class", *inner]
        return xr.Dataset(
            {
                "count": ("class", np.array(list(self.counts.values()), dtype=np.int64)),
                "mean": (dims, np.stack(list(means.values()))),
                "m2": (dims, np.stack(m2)),
            },
            coords={
                "class": list(raw),
                **{dim: np.arange(size) for dim, size in zip(inner, m2[0].shape, strict=True)},
            },
        )


def _gates(rng: np.random.Generator, site: Site, images: int) -> np.ndarray:
    if site.branches == 1:
        return rng.uniform(0.05, 0.95, (images, site.channels))
    weights = rng.uniform(0.1, 1, (images, site.branches, site.channels))
    return weights / weights.sum(axis=1, keepdims=True)
