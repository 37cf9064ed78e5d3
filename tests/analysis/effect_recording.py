"""A recording with effects, made of raw arrays: gates, and effects in proportion to how far they are from 0.5."""

from dataclasses import dataclass, field, replace

import numpy as np

from tests.analysis.raw_recording import GateSite, RawRecording, random_gates

COUNTS = {f"class {number}": 12 for number in range(8)}


@dataclass
class EffectRecording(RawRecording):
    """Both signals; at the sites `broken` first-order and exact effects have nothing to do with each other."""

    broken: tuple[str, ...] = ()
    seed: int = 0
    effect: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

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
        return replace(self, raw=self.effect) if signal == "effect" else self


def with_effects(broken=(), seed=0) -> EffectRecording:
    """Three sites, one of them with branches."""
    sites = [GateSite("SE_2_1", 2, 1, 8), GateSite("SE_3_1", 3, 1, 8), GateSite("SK_4_1", 4, 1, 6, branches=2)]
    raw, rng = random_gates(sites, COUNTS, seed), np.random.default_rng(seed + 1)
    gradients = {site.name: rng.lognormal(0, 1, site.shape) for site in sites}
    effect = {
        name: {item: gradients[name] * (0.5 - gates) for item, gates in of_class.items()}
        for name, of_class in raw.items()
    }
    return EffectRecording(sites, ["class 0", "class 1"], raw, broken=tuple(broken), seed=seed, effect=effect)
