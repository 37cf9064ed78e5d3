"""Moments and gates of a site for the kernels, the first columns of tables, and measuring sites in parallel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from se_probe.analysis.protocols import GateRecording, RecordingLike, SiteLike
from se_probe.analysis.sampling import select_sites
from se_probe.analysis.stats.moments import (
    Components,
    Floats,
    Moments,
    between_class_sd,
    components,
    equal_weight_mean,
)
from se_probe.analysis.stats.states import FEWEST_STATE_IMAGES, channel_states, site_verdict
from se_probe.errors import SeProbeError

Measured = TypeVar("Measured")
MOST_AT_ONCE = 8
"""Sites measured in parallel; each takes some hundred megabytes for a thousand classes."""


@dataclass(frozen=True)
class SiteMoments(Moments):
    """Moments `(column, class)` of a site; a column is a channel of a branch.

    Attributes:
        site: the site.
        names: the classes.
    """

    site: SiteLike
    names: list[str]

    def of_classes(self, index: NDArray[np.int64]) -> Self:
        """The moments of some of the classes."""
        return replace(super().of_classes(index), names=[self.names[position] for position in index])

    def several(self) -> Self:
        """The moments of the classes with two images or more, whose variance is known; of all where none has."""
        several = self.count >= 2
        return self.of_classes(np.flatnonzero(several)) if several.any() and not several.all() else self

    @cached_property
    def mean_gate(self) -> Floats:
        """Mean gate of each column, classes with equal weights."""
        return equal_weight_mean(self.mean)

    @cached_property
    def components(self) -> Components:
        """Variance between and within classes of each column."""
        return components(self)

    @cached_property
    def total_sd(self) -> Floats:
        """Standard deviation over images, classes with equal weights; of a single class, within it."""
        between = np.nan_to_num(np.maximum(self.components.between, 0.0))
        return np.asarray(np.sqrt(self.components.within + between))

    @cached_property
    def states(self) -> NDArray[np.str_]:
        """State of each column, see `channel_states`; "unknown" for fewer than `FEWEST_STATE_IMAGES` images."""
        spread = np.where(self.count.sum() < FEWEST_STATE_IMAGES, np.nan, self.total_sd)
        return channel_states(self.mean_gate, spread, bounded=self.site.bounded)


@dataclass(frozen=True)
class SiteGates:
    """Gates of the chosen classes at a site.

    Attributes:
        values: `(image, column)`, columns as in `SiteMoments`.
        labels: class of each image, an index of `names`.
        names: the classes, in the order chosen.
    """

    values: NDArray[np.floating]
    labels: NDArray[np.int64]
    names: list[str]

    @property
    def groups(self) -> list[NDArray[np.floating]]:
        """The rows of each class."""
        return self.by_class(self.values)

    def by_class(self, values: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        """Split an array with an image axis by class."""
        return [values[self.labels == index] for index in range(len(self.names))]


def competes(site: SiteLike) -> bool:
    """Whether the branches of a site compete by a softmax."""
    return site.branches > 1 and site.activation.startswith("softmax")


def chosen_sites(recording: RecordingLike, names: Sequence[str] | None) -> list[SiteLike]:
    """The sites called `names`, all where None.

    Raises:
        SeProbeError: a name that no site has.
    """
    return list(recording.sites) if names is None else select_sites(recording.sites, names)


def class_moments(recording: RecordingLike, site: SiteLike) -> SiteMoments:
    """Read the moments of every class seen at a site."""
    moments = recording.moments(site.name).compute()
    names = [str(name) for name in moments["class"].to_numpy()]
    mean, m2 = (moments[name].to_numpy().astype(np.float64).reshape(len(names), -1).T for name in ("mean", "m2"))
    return SiteMoments(moments["count"].to_numpy(), mean, m2, site, names)


def site_moments(recording: RecordingLike, site: SiteLike) -> SiteMoments:
    """Read the moments of the classes with two images or more at a site; of every class where none has."""
    return class_moments(recording, site).several()


def site_gates(recording: GateRecording, site: SiteLike) -> SiteGates:
    """Read the gates of a site, without chosen classes that have no image; refuse a site without any image."""
    gates = recording.gates(site.name).compute()
    if not gates.sizes["image"]:
        raise SeProbeError(
            f"site {site.name} has no gates of any image; expected images of {', '.join(recording.chosen)}; "
            "record some with --classes"
        )
    classes = gates["class"].to_numpy().astype(str)
    names = [name for name in recording.chosen if name in set(classes)]
    labels = pd.Index(names).get_indexer(pd.Index(classes)).astype(np.int64)
    return SiteGates(gates.to_numpy().reshape(classes.size, -1), labels, names)


def image_numbers(gates: xr.DataArray) -> NDArray[np.int64]:
    """Row of each image in the recording's table of images; its position where gates have no coordinate `image`."""
    return gates["image"].to_numpy() if "image" in gates.coords else np.arange(gates.sizes["image"])


def columns_of(site: SiteLike) -> pd.DataFrame:
    """One row per column of a site: `site`, `branch`, `channel`."""
    branch, channel = np.divmod(np.arange(site.branches * site.channels), site.channels)
    return pd.DataFrame({"site": site.name, "branch": branch, "channel": channel})


def channel_facts(moments: SiteMoments) -> pd.DataFrame:
    """`columns_of` a site with the spread of each gate in gate units.

    `between_class_sd`: standard deviation between the true means of classes, without the noise of the means.
    `within_class_sd`: over images of a class, root mean square over classes. `state`: see `stats.states`.
    """
    return columns_of(moments.site).assign(
        between_class_sd=between_class_sd(moments.components, len(moments.names)),
        within_class_sd=np.sqrt(moments.components.within),
        state=moments.states,
    )


def place_of(site: SiteLike) -> dict[str, object]:
    """First columns of rows about a site: `site`, `stage`, `block`."""
    return {"site": site.name, "stage": site.stage, "block": site.block}


def site_facts(moments: SiteMoments) -> dict[str, object]:
    """First columns of the measures of a site: `place_of`, `classes` and `images` seen, and its absolute spread.

    `between_class_sd` and `within_class_sd` as in `class_spreads`. `verdict`: see `stats.states.site_verdict`.
    """
    return {
        **place_of(moments.site),
        "classes": len(moments.names),
        "images": int(moments.count.sum()),
        **class_spreads(moments.components, len(moments.names)),
        "verdict": site_verdict(moments.mean_gate, moments.states),
    }


def class_spreads(parts: Components, classes: int) -> dict[str, float]:
    """`between_class_sd` and `within_class_sd` as in `channel_facts`, root mean square over the columns of `parts`.

    The former is 0 in about half of all cases if classes do not differ.
    """
    pooled, columns = parts.pooled(), parts.within.size
    return {
        "between_class_sd": float(between_class_sd(pooled, classes) / np.sqrt(columns)),
        "within_class_sd": float(np.sqrt(pooled.within / columns)),
    }


def channel_gates(recording: GateRecording, site: str, channel: int, branch: int = 0) -> pd.DataFrame:
    """Gate of every image of the chosen classes in one channel of a site, one row per image, classes in their order.

    Columns: `site`, `activation`, `branch`, `channel`, `class`, `image`, its row in the recording's table of images,
    and `gate`. An unknown site, channel or branch is refused.
    """
    (chosen,) = chosen_sites(recording, [site])
    for kind, number, size in (("channel", channel, chosen.channels), ("branch", branch, chosen.branches)):
        if not 0 <= number < size:
            raise SeProbeError(f"{site} has no {kind} {number}; expected 0 to {size - 1}")
    gates = recording.gates(site).isel(channel=channel).compute()
    gates = gates.isel(branch=branch) if "branch" in gates.dims else gates
    table = pd.DataFrame(
        {
            "site": site,
            "activation": chosen.activation,
            "branch": branch,
            "channel": channel,
            "class": gates["class"].to_numpy().astype(str),
            "image": image_numbers(gates),
            "gate": gates.to_numpy().astype(np.float64),
        }
    )
    order = list(recording.chosen)
    return table.sort_values("class", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def each_site(measure: Callable[[SiteLike], Measured], sites: Sequence[SiteLike]) -> list[Measured]:
    """Measure sites in threads and return the results in order.

    The linear algebra library gets a single thread, because matrices are small and sums must not depend on the number
    of cores.
    """
    at_once = min(MOST_AT_ONCE, cpu_count())
    with threadpool_limits(1, "blas"):
        return list(Parallel(at_once, backend="threading")(delayed(measure)(site) for site in sites))
