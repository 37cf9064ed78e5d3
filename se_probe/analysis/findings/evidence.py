"""What findings rest on: variance between and within classes at every site, and the state that the site is in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.findings.thresholds import FEWEST_IMAGES
from se_probe.analysis.gates import GateRecording, GateSiteLike, SiteMoments, site_moments
from se_probe.analysis.health import site_health
from se_probe.analysis.stats.class_groups import class_groups, jackknife_limits, pooled_components_without
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.states import STATIC_SD

HEALTH = "site_health.csv"


@dataclass(frozen=True, eq=False)
class SiteEvidence:
    """Numbers of one site.

    Attributes:
        site: the site.
        depth: its place in the network, 0 for the first site and 1 for the last.
        between: variance of true class means, mean over columns: with all classes, then without each group.
        within: variance over images of a class, likewise.
        health: the site's row of `site_health`.
    """

    site: GateSiteLike
    depth: float
    between: Floats
    within: Floats
    health: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """State of the site, see `kernels.health.site_verdict`."""
        return str(self.health["verdict"])

    @property
    def name(self) -> str:
        """Name of the site."""
        return self.site.name

    @property
    def mean_gate(self) -> float:
        """Mean gate."""
        return float(self.health["mean_gate"])

    @property
    def sd(self) -> float:
        """Standard deviation over images of all classes, root mean square over columns."""
        return float(self.health["sd"])

    @property
    def moves(self) -> bool:
        """Whether the gates are bounded, so that there is a unit, and depend on the image in that unit."""
        return self.site.bounded and self.sd >= STATIC_SD


@dataclass(frozen=True)
class Evidence:
    """Numbers of all sites, from the same classes.

    Attributes:
        sites: in network order.
        classes: number of classes with `FEWEST_IMAGES` images or more; only these count.
        groups: group of each class, see `kernels.class_groups`.
        chosen_images: images of each chosen class, whose single gates are kept.
    """

    sites: tuple[SiteEvidence, ...]
    classes: int
    groups: NDArray[np.int64]
    chosen_images: tuple[int, ...]

    @property
    def stages(self) -> list[int]:
        """The stages with gates, in order."""
        return sorted({site.site.stage for site in self.sites})

    @property
    def early(self) -> list[SiteEvidence]:
        """Sites of the first half of the stages; of an odd number the middle one is late."""
        first = set(self.stages[: len(self.stages) // 2])
        return [site for site in self.sites if site.site.stage in first]

    @property
    def late(self) -> list[SiteEvidence]:
        """The other sites."""
        first = set(self.stages[: len(self.stages) // 2])
        return [site for site in self.sites if site.site.stage not in first]

    @property
    def last_stage(self) -> list[SiteEvidence]:
        """Sites of the last stage."""
        return [site for site in self.sites if site.site.stage == self.stages[-1]]

    def limits(self, values: Floats) -> tuple[float, float]:
        """95 % limits for another draw of classes of a number given with all classes, then without each group."""
        return jackknife_limits(float(values[0]), values[1:], self.groups)


def read_evidence(recording: GateRecording, tables: Mapping[str, pd.DataFrame] | None) -> Evidence:
    """Read a recording once; `tables` are those of `measure_tables`, of which the health of sites is used."""
    health = (site_health(recording) if tables is None else tables[HEALTH]).set_index("site")
    depths = np.linspace(0, 1, len(recording.sites))
    counts = recording.moments(recording.sites[0].name)["count"].to_series()
    classes = int(np.sum(counts >= FEWEST_IMAGES))
    groups = class_groups(classes)
    sites = []
    for site, depth in zip(recording.sites, depths, strict=True):
        between, within = _components(enough_images(site_moments(recording, site)), groups)
        row = {str(name): value for name, value in health.loc[site.name].items()}
        sites.append(SiteEvidence(site, float(depth), between, within, row))
    chosen = tuple(int(counts.get(name, 0)) for name in recording.chosen)
    return Evidence(tuple(sites), classes, groups, chosen)


def enough_images(moments: SiteMoments) -> SiteMoments:
    """The moments of the classes with `FEWEST_IMAGES` images or more."""
    kept = np.flatnonzero(moments.count >= FEWEST_IMAGES)
    names = [moments.names[place] for place in kept]
    return SiteMoments(moments.site, names, moments.count[kept], moments.mean[:, kept], moments.m2[:, kept])


def _components(moments: SiteMoments, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Between and within with all classes, then without each group; NaN for fewer than three classes."""
    if len(moments.names) < 3:
        return np.full(1, np.nan), np.full(1, np.nan)
    columns = len(moments.mean)
    whole = moments.components.pooled()
    without = pooled_components_without(moments.count, moments.mean, moments.m2, groups)
    between, within = np.r_[whole.between, without.between], np.r_[whole.within, without.within]
    return between / columns, within / columns
