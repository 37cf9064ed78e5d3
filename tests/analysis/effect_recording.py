"""A recording with effects, made of raw arrays: gates, and effects in proportion to how far they are from 0.5."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tests.analysis.stand_in import Site, StandIn

COUNTS = {f"class {number}": 12 for number in range(8)}


@dataclass
class EffectStandIn(StandIn):
    """Both signals; at the sites `broken` first-order and exact effects have nothing to do with each other."""

    broken: tuple[str, ...] = ()
    signal: str = "gate"
    effect: dict[str, dict[str, np.ndarray]] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        rng = np.random.default_rng(self.seed + 1)
        self.gradient = {site.name: rng.lognormal(0, 1, _shape(site)) for site in self.sites}
        self.effect = {
            name: {item: self.gradient[name] * (0.5 - gates) for item, gates in of_class.items()}
            for name, of_class in self.raw.items()
        }

    @property
    def classes(self):
        return pd.DataFrame({"name": list(self.counts)})

    @property
    def effects(self):
        rng = np.random.default_rng(self.seed + 2)
        rows = []
        for site in self.sites:
            exact = rng.normal(size=24)
            first = exact + 0.05 * rng.normal(size=24)
            rows.append(
                {
                    "site": site.name,
                    "image": np.repeat(np.arange(4), 6).tolist(),
                    "branch": [0] * 24,
                    "channel": list(range(6)) * 4,
                    "first_order": (rng.permutation(first) if site.name in self.broken else first).tolist(),
                    "exact": exact.tolist(),
                }
            )
        return {"outcome": "label", "reference_images": 8, "reference": {}, "agreement": rows}

    def of(self, signal):
        other = EffectStandIn(self.sites, self.chosen, self.counts, self.seed, self.broken, signal)
        if signal == "effect":
            other.raw = self.effect
        return other


def _shape(site):
    return (site.channels,) if site.branches == 1 else (site.branches, site.channels)


def with_effects(broken=(), **facts) -> EffectStandIn:
    """Three sites, one of them with branches."""
    sites = [Site("SE_2_1", 2, 1, 8), Site("SE_3_1", 3, 1, 8), Site("SK_4_1", 4, 1, 6, branches=2)]
    return EffectStandIn(sites, ["class 0", "class 1"], dict(COUNTS), broken=tuple(broken), **facts)
