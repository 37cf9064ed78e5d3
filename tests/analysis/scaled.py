"""Recordings of the same images at several scales, made of raw arrays with a planted shift."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from tests.analysis.stand_in import Site


@dataclass(frozen=True)
class KernelSite(Site):
    kernels: tuple[int, ...] = ()


def sk_site(name="SK_2_1", stage=2, block=1, channels=6, kernels=(3, 5)):
    return KernelSite(name, stage, block, channels, len(kernels), "softmax over branches", family="SK", kernels=kernels)


def attention(mean, rng, images, channels, spread=0.02):
    """Attention of two branches `(image, branch, channel)`; `mean` (image) is that of the second one."""
    second = np.asarray(mean)[:, None] + rng.normal(0, spread, (images, channels))
    return np.stack([1 - second, second], axis=1)


@dataclass
class ScaledStandIn:
    """`raw[site]` is the array `(image, [branch,] channel)` of all images; those of `reference` are not chosen."""

    sites: list[KernelSite]
    labels: list[str]
    raw: Mapping[str, np.ndarray]
    reference: tuple[str, ...] = ()
    paths: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.paths = self.paths or [f"{name}/{place}.png" for place, name in enumerate(self.labels)]

    @property
    def chosen(self):
        return [name for name in dict.fromkeys(self.labels) if name not in self.reference]

    @property
    def images(self):
        roles = ["reference" if name in self.reference else "chosen" for name in self.labels]
        return pd.DataFrame({"path": self.paths, "class": self.labels, "role": roles}).rename_axis("image")

    @property
    def classes(self):
        names = list(dict.fromkeys(self.labels))
        counts = [self.labels.count(name) for name in names]
        return pd.DataFrame({"name": names, "index": pd.array(range(len(names)), dtype="Int64"), "images": counts})

    def gates(self, site, /):
        rows = np.flatnonzero(self.images["role"] == "chosen")
        values = self.raw[site][rows]
        return xr.DataArray(
            values,
            dims=("image", *self._inner(values)),
            coords={"image": rows, "class": ("image", np.array(self.labels)[rows])},
        )

    def moments(self, site, /):
        names = np.array(self.labels)
        parts = {name: self.raw[site][names == name] for name in dict.fromkeys(self.labels)}
        dims = ("class", *self._inner(self.raw[site]))
        return xr.Dataset(
            {
                "count": ("class", np.array([len(part) for part in parts.values()])),
                "mean": (dims, np.stack([part.mean(axis=0) for part in parts.values()])),
                "m2": (dims, np.stack([((part - part.mean(axis=0)) ** 2).sum(axis=0) for part in parts.values()])),
            },
            coords={"class": list(parts)},
        )

    def _inner(self, values):
        return ("channel",) if values.ndim == 2 else ("branch", "channel")
