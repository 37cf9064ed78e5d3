"""Reproducible choice of the sites and channels that a figure shows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from se_probe.analysis.protocols import SiteLike
from se_probe.errors import SeProbeError

LAST_STAGE_PANELS = 6


def sample_channels(channels: int, count: int | None, seed: int) -> NDArray[np.int64]:
    """Indices of sampled channels, uniform without replacement, in ascending order.

    Every channel draws a raw 64-bit number from PCG64(seed), which is fixed across versions of numpy, and the smallest
    win. Sites of equal width get the same channels, and a smaller sample is part of a larger one.

    Args:
        channels: number of channels of the site.
        count: sample size; None, or more than `channels`: all.
        seed: seed of PCG64.

    Raises:
        SeProbeError: `count` below 1.

    Source: Hu et al., Squeeze-and-Excitation Networks, "fifty uniformly sampled channels".
    """
    if count is not None and count < 1:
        raise SeProbeError(f"{count} channels were requested; expected 1 or more, or none given for all")
    if count is None or count >= channels:
        return np.arange(channels, dtype=np.int64)
    return np.sort(np.argsort(np.random.PCG64(seed).random_raw(channels), kind="stable")[:count]).astype(np.int64)


def default_panels(sites: Sequence[SiteLike]) -> list[str]:
    """Names of the sites of the paper's figure: the last of each stage, and all of the last stage, at most six.

    Source: Hu et al., Squeeze-and-Excitation Networks, "Role of Excitation" (SE_2_3 … SE_5_3).
    """
    stages: dict[int, list[str]] = {}
    for site in sites:
        stages.setdefault(site.stage, []).append(site.name)
    *earlier, last = (stages[stage] for stage in sorted(stages))
    shown = np.linspace(0, len(last) - 1, min(len(last), LAST_STAGE_PANELS)).round().astype(int)
    return [names[-1] for names in earlier] + [last[index] for index in shown]


def select_sites(sites: Sequence[SiteLike], names: Sequence[str] | None) -> list[SiteLike]:
    """The sites called `names` in that order, or those of `default_panels`.

    Raises:
        SeProbeError: a name that no site has.
    """
    by_name = {site.name: site for site in sites}
    wanted = default_panels(sites) if names is None else names
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        raise SeProbeError(f"no site is called '{unknown[0]}'; choose among {', '.join(by_name)}")
    return [by_name[name] for name in wanted]
