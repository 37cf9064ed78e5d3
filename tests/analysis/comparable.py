"""Recordings of given gates that say of which images they are, for comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from tests.analysis.raw_recording import GateSite

CLASSES = ("goldfish", "pug", "cliff", "tabby", "banana", "airliner")
ORDER = (*CLASSES, "plunger", "orange", "wok", "sandal")


@dataclass
class Comparable:
    """`raw[site]` has a row an image of `images`, `(image, [branch,] channel)`."""

    sites: list[GateSite]
    images: pd.DataFrame
    raw: Mapping[str, np.ndarray]
    title: str = "photographs"

    @property
    def provenance(self):
        return {"data": {"title": self.title}}

    @property
    def chosen(self):
        return list(dict.fromkeys(self.images.loc[self.images["role"] == "chosen", "class"]))

    @property
    def classes(self):
        return pd.DataFrame({"name": list(dict.fromkeys(self.images["class"]))}).assign(wnid=None)

    def gates(self, site, /):
        rows = np.flatnonzero(self.images["role"] == "chosen")
        values = self.raw[site][rows]
        dims = ("image", "channel") if values.ndim == 2 else ("image", "branch", "channel")
        coords = {"image": rows, "class": ("image", self.images["class"].to_numpy(dtype=str)[rows])}
        return xr.DataArray(values, dims=dims, coords=coords)

    def moments(self, site, /):
        names = list(self.classes["name"])
        raw = [self.raw[site][self.images["class"] == name] for name in names]
        dims = ("class", "channel") if raw[0].ndim == 2 else ("class", "branch", "channel")
        return xr.Dataset(
            {
                "count": ("class", np.array([len(gates) for gates in raw])),
                "mean": (dims, np.stack([gates.mean(axis=0) for gates in raw])),
                "m2": (dims, np.stack([((gates - gates.mean(axis=0)) ** 2).sum(axis=0) for gates in raw])),
            },
            coords={"class": names},
        )


def image_table(images: Mapping[str, range], chosen=CLASSES[:3]) -> pd.DataFrame:
    """The images `class/number.png` of each class."""
    rows = [
        {"path": f"{name}/{number}.png", "class": name, "role": "chosen" if name in chosen else "reference"}
        for name, numbers in images.items()
        for number in numbers
    ]
    return pd.DataFrame(rows).rename_axis("image")


def network(images: pd.DataFrame, *, spread=0.1, sites=3, seed=0, title="photographs") -> Comparable:
    """Gates that depend on class and image, wherever the image stands in the table; `spread` is their size."""
    mixing = np.random.default_rng(seed)
    places = [GateSite(f"SE_{stage}_1", stage, 1, 6) for stage in range(2, 2 + sites)]
    latent = np.stack([features(path, name) for path, name in zip(images["path"], images["class"], strict=True)])
    raw = {place.name: np.clip(0.5 + spread * latent @ mixing.normal(size=(5, 6)) / 3, 0, 1) for place in places}
    return Comparable(places, images, raw, title)


def features(path: str, name: str) -> np.ndarray:
    of_class = np.random.default_rng(ORDER.index(name)).normal(size=5)
    return of_class + np.random.default_rng(list(path.encode())).normal(size=5)
