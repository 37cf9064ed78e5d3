"""What findings rest on: variance between and within classes at every site, and the state of its gates."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis.findings.thresholds import FEWEST_IMAGES
from se_probe.analysis.gates import SiteMoments, site_moments
from se_probe.analysis.health import site_health
from se_probe.analysis.protocols import GateRecording, SiteLike
from se_probe.analysis.stats.intervals import TAILS, class_groups, jackknife_limits, pooled_components_without, student
from se_probe.analysis.stats.moments import Floats, sample_variance
from se_probe.analysis.stats.states import CLOSED, STATIC_SD

HEALTH = "site_health.csv"


@dataclass(frozen=True, eq=False)
class SiteEvidence:
    """Numbers of one site.

    Attributes:
        site: the site.
        depth: its place in the network, 0 for the first site and 1 for the last.
        between: variance of true class means, mean over columns: with all classes, then without each group.
        within: variance over images of a class, likewise.
        health: the site's row of `site_health`, and of it:
        verdict: state of the site, see `stats.states.site_verdict`.
        mean_gate: mean gate.
        sd: standard deviation over images of all classes, root mean square over columns.
        still: share of channels that hardly move.
        moving: 95 % limits of the share of channels that move by `STATIC_SD` or more over images.
        dead: 95 % limits of the number of channels that are closed for every image.
    """

    site: SiteLike
    depth: float
    between: Floats
    within: Floats
    health: Mapping[Hashable, Any]
    verdict: str
    mean_gate: float
    sd: float
    still: float
    moving: tuple[float, float]
    dead: tuple[int, int]

    @property
    def name(self) -> str:
        """Name of the site."""
        return self.site.name

    @property
    def moves(self) -> bool:
        """Whether the gates are bounded, so that there is a unit, and depend on the image in that unit."""
        return self.site.bounded and self.sd >= STATIC_SD


@dataclass(frozen=True)
class Evidence:
    """Numbers of all sites, from the same classes.

    Attributes:
        sites: in network order.
        classes: number of classes with `FEWEST_IMAGES` images or more; only these count for claims about classes.
        images: images of classes with two or more, which tell whether gates move.
        moving_classes: number of these classes.
        groups: group of each class, see `stats.intervals.class_groups`.
        chosen_images: images of each chosen class, whose single gates are kept.
    """

    sites: tuple[SiteEvidence, ...]
    classes: int
    images: int
    moving_classes: int
    groups: NDArray[np.int64]
    chosen_images: tuple[int, ...]

    @property
    def stages(self) -> list[int]:
        """The stages with gates, in order."""
        return sorted({site.site.stage for site in self.sites})

    @property
    def bounded(self) -> list[SiteEvidence]:
        """Sites whose gates are between 0 and 1."""
        return [site for site in self.sites if site.site.bounded]

    @property
    def early(self) -> list[SiteEvidence]:
        """Sites of the first half of the stages; of an odd number the middle one is late."""
        return [site for site in self.sites if site.site.stage in self.stages[: len(self.stages) // 2]]

    @property
    def late(self) -> list[SiteEvidence]:
        """The other sites."""
        return [site for site in self.sites if site.site.stage in self.stages[len(self.stages) // 2 :]]

    @property
    def last_stage(self) -> list[SiteEvidence]:
        """Sites of the last stage."""
        return self.of_stage(self.stages[-1])

    def of_stage(self, stage: int) -> list[SiteEvidence]:
        """Sites of a stage."""
        return [site for site in self.sites if site.site.stage == stage]

    def limits(self, values: Floats) -> tuple[float, float]:
        """95 % limits for another draw of classes of a number given with all classes, then without each group."""
        return jackknife_limits(float(values[0]), values[1:], self.groups)

    def limits_over_images(self, site: SiteEvidence, share: str) -> tuple[float, float]:
        """95 % limits of a share of `site_health` for other images of the chosen classes."""
        reach = student(sum(self.chosen_images) - len(self.chosen_images)) * float(site.health[f"{share}_error"])
        value = float(site.health[share])
        return max(value - reach, 0.0), min(value + reach, 1.0)


def read_evidence(recording: GateRecording, tables: Mapping[str, pd.DataFrame] | None) -> Evidence:
    """Read a recording; of the tables of `measure_tables`, if given, the health of sites is used."""
    health = (site_health(recording) if tables is None else tables[HEALTH]).set_index("site").to_dict("index")
    counts = recording.moments(recording.sites[0].name)["count"].to_series()
    classes = int(np.sum(counts >= FEWEST_IMAGES))
    groups = class_groups(classes)
    sites = []
    for site, depth in zip(recording.sites, np.linspace(0, 1, len(recording.sites)), strict=True):
        moments = site_moments(recording, site)
        between, within = _components(enough_images(moments), groups)
        moving, dead = _state_limits(moments)
        row = health[site.name]
        verdict, mean_gate, sd, dynamic = (row[name] for name in ("verdict", "mean_gate", "sd", "dynamic"))
        sites.append(
            SiteEvidence(site, float(depth), between, within, row, verdict, mean_gate, sd, 1 - dynamic, moving, dead)
        )
    chosen = tuple(int(counts.get(name, 0)) for name in recording.chosen)
    several = counts[counts >= 2]
    return Evidence(tuple(sites), classes, int(several.sum()), len(several), groups, chosen)


def enough_images(moments: SiteMoments) -> SiteMoments:
    """The moments of the classes with `FEWEST_IMAGES` images or more."""
    return moments.of_classes(np.flatnonzero(moments.count >= FEWEST_IMAGES))


def _components(moments: SiteMoments, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Variance between and within classes: of all, then without each group; NaN for fewer than three classes."""
    if len(moments.names) < 3:
        return np.full(1, np.nan), np.full(1, np.nan)
    whole = moments.components.pooled()
    without = pooled_components_without(moments, groups)
    between, within = np.r_[whole.between, without.between], np.r_[whole.within, without.within]
    return between / len(moments.mean), within / len(moments.mean)


def _state_limits(moments: SiteMoments) -> tuple[tuple[float, float], tuple[int, int]]:
    """95 % limits of the share of channels that move, and of the number of channels that are dead.

    Both take the limits of each channel's standard deviation at one end for all, since images move channels together.
    """
    low, high = _sd_limits(moments)
    closed = moments.mean_gate <= CLOSED
    moving = float(np.mean(low >= STATIC_SD)), float(np.mean(high >= STATIC_SD))
    return moving, (int(np.sum(closed & (high < STATIC_SD))), int(np.sum(closed & (low < STATIC_SD))))


def _sd_limits(moments: SiteMoments) -> tuple[Floats, Floats]:
    """95 % limits of the standard deviation of each column over images of other such classes, for normal gates.

    The variance is a sum of two mean squares, within classes and of class means, each of which is χ² distributed.
    Images of one class give no upper limit, because classes may differ; single images of classes give none at all.

    Source: Graybill and Wang, Confidence Intervals on Nonnegative Linear Combinations of Variances, JASA 75 (1980).
    """
    within, classes = moments.components.within, len(moments.names)
    freedom = int(np.sum(moments.count - 1)), classes - 1
    if 0 in freedom:
        low = np.sqrt(within * freedom[0] / stats.chi2.ppf(TAILS[1], max(freedom[0], 1)))
        return np.nan_to_num(low, nan=0.0), np.full_like(within, np.inf)
    squares = within * (1 - np.mean(1 / moments.count)), sample_variance(moments.mean)
    down, up = (
        np.hypot(*((free / stats.chi2.ppf(tail, free) - 1) * part for free, part in zip(freedom, squares, strict=True)))
        for tail in reversed(TAILS)
    )
    return np.sqrt(np.maximum(sum(squares) - down, 0.0)), np.sqrt(sum(squares) + up)
