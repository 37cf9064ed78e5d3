"""Recordings of the same images plain and changed, made of raw arrays with a planted shift."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from tests.analysis.scaled import KernelSite, ScaledStandIn

LABELS = ["pug"] * 14 + ["cliff"] * 12 + ["tabby"] * 6


@dataclass(frozen=True)
class BoundedSite(KernelSite):
    bounded: bool = True


SITES = [BoundedSite("SE_2_1", 2, 1, 6), BoundedSite("SE_3_1", 3, 1, 4)]


@dataclass
class ChangedStandIn(ScaledStandIn):
    """With facts about the change, what the network says, and the squeeze among the signals."""

    change: dict = field(default_factory=lambda: {"name": "plain", "strength": 0.0})
    said: np.ndarray | None = None
    other: dict = field(default_factory=dict)

    @property
    def provenance(self):
        return {"change": self.change}

    @property
    def signals(self):
        return ["gate", *self.other]

    def of(self, signal, /):
        return self if signal == "gate" else replace(self, raw=self.other[signal])

    @property
    def images(self):
        own = pd.factorize(np.array(self.labels))[0]
        said = own if self.said is None else self.said
        return super().images.assign(
            class_index=pd.array(own, dtype="Int64"),
            predicted_index=pd.array(said, dtype="Int64"),
            probability=np.linspace(0.5, 0.9, len(own)),
        )


def changed_recordings(shifts, *, seed=0, labels=LABELS, reference=("tabby",)):
    """Plain recordings and, for each label → shift of the first site's channels, the changed ones."""
    rng = np.random.default_rng(seed)
    plain = {site.name: rng.uniform(0.2, 0.8, (len(labels), site.channels)) for site in SITES}
    squeeze = {name: rng.normal(size=values.shape) for name, values in plain.items()}
    runs = {"plain": ChangedStandIn(SITES, list(labels), plain, reference, other={"squeeze": squeeze})}
    for label, shift in shifts.items():
        name, _, strength = label.partition(" ")
        raw = {key: values + rng.normal(0, 0.02, values.shape) for key, values in plain.items()}
        raw["SE_2_1"] = raw["SE_2_1"] + np.asarray(shift)
        runs[label] = ChangedStandIn(
            SITES,
            list(labels),
            raw,
            reference,
            change={"name": name, "strength": float(strength)},
            other={"squeeze": {key: values + 1 for key, values in squeeze.items()}},
        )
    return runs
