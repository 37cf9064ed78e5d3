"""Recordings that say of which images they are: of networks to compare, of several scales, and of changed images."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from tests.analysis.raw_recording import GateSite, gate_array, moments_of

CLASSES = ("goldfish", "pug", "cliff", "tabby", "banana", "airliner")
ORDER = (*CLASSES, "plunger", "orange", "wok", "sandal")
LABELS = ["pug"] * 14 + ["cliff"] * 12 + ["tabby"] * 6
SITES = [GateSite("SE_2_1", 2, 1, 6), GateSite("SE_3_1", 3, 1, 4)]


@dataclass
class ImageRecording:
    """`raw[site]` is the array `(image, [branch,] channel)` of all images; the classes `reference` are not chosen.

    `said` is the unit that the network chooses for each image, −1 where that is unknown; `other` holds other signals.
    """

    sites: list[GateSite]
    labels: list[str]
    raw: Mapping[str, np.ndarray]
    reference: tuple[str, ...] = ()
    paths: list[str] = field(default_factory=list)
    title: str = "photographs"
    change: dict = field(default_factory=lambda: {"name": "plain", "strength": 0.0})
    said: np.ndarray | None = None
    other: dict = field(default_factory=dict)

    def __post_init__(self):
        self.paths = self.paths or [f"{name}/{index}.png" for index, name in enumerate(self.labels)]

    @property
    def provenance(self):
        return {"data": {"title": self.title}, "change": self.change}

    @property
    def signals(self):
        return ["gate", *self.other]

    def of(self, signal, /):
        return self if signal == "gate" else replace(self, raw=self.other[signal])

    @property
    def chosen(self):
        return [name for name in dict.fromkeys(self.labels) if name not in self.reference]

    @property
    def images(self):
        own = pd.factorize(np.array(self.labels))[0]
        said = pd.Series(own if self.said is None else self.said, dtype="Int64")
        return pd.DataFrame(
            {
                "path": self.paths,
                "class": self.labels,
                "role": ["reference" if name in self.reference else "chosen" for name in self.labels],
                "class_index": pd.array(own, dtype="Int64"),
                "predicted_index": said.where(said >= 0),
                "probability": np.linspace(0.5, 0.9, len(own)),
            }
        ).rename_axis("image")

    @property
    def classes(self):
        names = list(dict.fromkeys(self.labels))
        counts = [self.labels.count(name) for name in names]
        index = pd.array(range(len(names)), dtype="Int64")
        return pd.DataFrame({"name": names, "index": index, "images": counts}).assign(wnid=None)

    def gates(self, site, /):
        rows = np.flatnonzero(self.images["role"] == "chosen")
        return gate_array(self.raw[site][rows], np.array(self.labels)[rows], rows)

    def moments(self, site, /):
        labels = np.array(self.labels)
        return moments_of({name: self.raw[site][labels == name] for name in dict.fromkeys(self.labels)})


def image_table(images: Mapping[str, range], chosen=CLASSES[:3]) -> pd.DataFrame:
    """The images `class/number.png` of each class."""
    rows = [
        {"path": f"{name}/{number}.png", "class": name, "role": "chosen" if name in chosen else "reference"}
        for name, numbers in images.items()
        for number in numbers
    ]
    return pd.DataFrame(rows).rename_axis("image")


def network(images: pd.DataFrame, *, spread=0.1, sites=3, seed=0, title="photographs") -> ImageRecording:
    """Gates that depend on class and image, wherever the image stands in the table; `spread` is their size."""
    mixing = np.random.default_rng(seed)
    places = [GateSite(f"SE_{stage}_1", stage, 1, 6) for stage in range(2, 2 + sites)]
    latent = np.stack([features(path, name) for path, name in zip(images["path"], images["class"], strict=True)])
    raw = {place.name: np.clip(0.5 + spread * latent @ mixing.normal(size=(5, 6)) / 3, 0, 1) for place in places}
    reference = tuple(images.loc[images["role"] == "reference", "class"].unique())
    return ImageRecording(places, list(images["class"]), raw, reference, list(images["path"]), title)


def features(path: str, name: str) -> np.ndarray:
    of_class = np.random.default_rng(ORDER.index(name)).normal(size=5)
    return of_class + np.random.default_rng(list(path.encode())).normal(size=5)


def sk_site(name="SK_2_1", stage=2, block=1, channels=6, kernels=(3, 5)):
    return GateSite(name, stage, block, channels, len(kernels), "softmax over branches", family="SK", kernels=kernels)


def attention(mean, rng, images, channels, spread=0.02):
    """Attention of two branches `(image, branch, channel)`; `mean` (image) is that of the second one."""
    second = np.asarray(mean)[:, None] + rng.normal(0, spread, (images, channels))
    return np.stack([1 - second, second], axis=1)


def changed_recordings(shifts, *, seed=0, labels=LABELS, reference=("tabby",)):
    """Plain recordings and, for each label → shift of the first site's channels, the changed ones."""
    rng = np.random.default_rng(seed)
    plain = {site.name: rng.uniform(0.2, 0.8, (len(labels), site.channels)) for site in SITES}
    squeeze = {name: rng.normal(size=values.shape) for name, values in plain.items()}
    runs = {"plain": ImageRecording(SITES, list(labels), plain, reference, other={"squeeze": squeeze})}
    for label, shift in shifts.items():
        name, _, strength = label.partition(" ")
        raw = {key: values + rng.normal(0, 0.02, values.shape) for key, values in plain.items()}
        raw["SE_2_1"] = raw["SE_2_1"] + np.asarray(shift)
        runs[label] = ImageRecording(
            SITES,
            list(labels),
            raw,
            reference,
            change={"name": name, "strength": float(strength)},
            other={"squeeze": {key: values + 1 for key, values in squeeze.items()}},
        )
    return runs
