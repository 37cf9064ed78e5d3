"""Recordings with known truth: class structure of a stated size at every site, or none."""

from collections.abc import Sequence

import numpy as np

from tests.analysis.raw_recording import GateSite, RawRecording

CHANNELS = 12


def sites(stages: Sequence[int] = (2, 2, 3, 3, 4, 4, 5, 5), **facts) -> list[GateSite]:
    blocks = [list(stages[: place + 1]).count(stage) for place, stage in enumerate(stages)]
    return [
        GateSite(f"SE_{stage}_{block}", stage, block, CHANNELS, **facts)
        for stage, block in zip(stages, blocks, strict=True)
    ]


def recording(
    class_sd: Sequence[float] | float = 0.0,
    image_sd: Sequence[float] | float = 0.08,
    *,
    level: Sequence[float] | float = 0.5,
    profile: float = 0.1,
    classes: int = 8,
    images: int = 12,
    places: list[GateSite] | None = None,
    seed: int = 0,
) -> RawRecording:
    """Normal gates with these standard deviations at each site: between classes, within them, over channels.

    Images move all channels of a site together in part, and all sites in part, as real ones do.
    """
    rng = np.random.default_rng(seed)
    places = sites() if places is None else places
    names = [f"class{number}" for number in range(classes)]
    shared = {name: rng.normal(size=(images, 1)) for name in names}
    raw = {}
    spreads = (np.broadcast_to(values, len(places)) for values in (class_sd, image_sd, level))
    for site, between, within, centre in zip(places, *spreads, strict=True):
        base = centre + profile * np.linspace(-1.5, 1.5, CHANNELS)
        raw[site.name] = {}
        for name in names:
            means = base + between * rng.normal(size=CHANNELS)
            parts = rng.normal(size=(images, CHANNELS)), rng.normal(size=(images, 1)), shared[name]
            raw[site.name][name] = means + within * sum(parts) / np.sqrt(3)
    return RawRecording(places, names[:3], raw)
