"""Changes of each image's outcome under interventions, against the untouched network on the same image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from se_probe.analysis.stats.intervals import Interval
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.paired import (
    Strata,
    flip_interval,
    image_strata,
    paired_interval,
    share_interval,
    studentized_interval,
)
from se_probe.errors import SeProbeError

FACTS = ("intervention", "scope", "sites", "replacement")
"""First columns of every row about an intervention."""


class AblationLike(Protocol):
    """The part of an ablation that the analyses read."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How the ablation was made."""

    @property
    def interventions(self) -> pd.DataFrame:
        """One row per intervention: `name`, `scope`, `sites` (comma-joined, in network order), `replacement`."""

    @property
    def images(self) -> pd.DataFrame:
        """One row per image: `path`, `class`, `class_index`."""

    @property
    def outcomes(self) -> xr.Dataset:
        """`top1`, `top5`, `nll`, `kl`, `agree` (intervention, image); `clean_top1`, …, `labelled` (image).

        With the user's metric, described by `provenance["metric"]`: `metric`, `clean_metric`, `labelled`.
        """


OWN = "metric"
"""The user's metric in tables, whatever its name."""
KINDS = {"top1": "flip", "top5": "flip", "nll": "change", "kl": "size", "agreement": "share", OWN: "change"}
"""The values that a measure takes for an image, which decide its interval: −1, 0 or 1 ("flip"), any number ("change"),
0 or more with a long tail ("size"), 0 or 1 ("share")."""
UNLABELLED = ("kl", "agreement")
"""Measures that do not need the unit of the image's class."""
ESTIMATORS = (
    "top-1 and top-5: adjusted Wald interval of paired proportions (Bonett and Price 2012) within classes; "
    "NLL: paired bootstrap over images within classes; KL: studentized bootstrap, likewise; agreement: Wilson score "
    "interval"
)


@dataclass(frozen=True)
class Cost:
    """The measure by which harm is judged: the negative log-likelihood, or the user's own.

    Attributes:
        measure: "nll" or "metric", as in the names of columns.
        name: name in text.
        unit: "" where it has none.
        lower_is_better: whether lower values are better.
    """

    measure: str
    name: str
    unit: str
    lower_is_better: bool

    @property
    def change(self) -> str:
        """The column of its change."""
        return f"{self.measure}_change"

    @property
    def sign(self) -> int:
        """1 where a rise is harm, else −1."""
        return 1 if self.lower_is_better else -1

    @property
    def loss(self) -> str:
        """The harm in words: "rise of NLL"."""
        return f"{'rise' if self.lower_is_better else 'fall'} of {self.name}"

    @property
    def in_unit(self) -> str:
        """The name with the unit: "NLL, nats"."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    @property
    def loss_in_unit(self) -> str:
        """The harm with the unit: "rise of NLL, nats"."""
        return f"{self.loss}, {self.unit}" if self.unit else self.loss

    def losses(self, table: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
        """The harm in each row of a table of interventions, with its limits."""
        change, low, high = (
            self.sign * table[name].to_numpy(dtype=np.float64)
            for name in (self.change, f"{self.measure}_ci_low", f"{self.measure}_ci_high")
        )
        return (change, low, high) if self.lower_is_better else (change, high, low)


NLL = Cost("nll", "NLL", "nats", True)


def cost_of(facts: Mapping[str, Any] | pd.DataFrame) -> Cost:
    """Return the measure of harm of an ablation, from its provenance or one of its tables."""
    if isinstance(facts, pd.DataFrame):
        if OWN not in facts or facts.empty:
            return NLL
        row = facts.iloc[0]
        unit = "" if pd.isna(row["unit"]) else str(row["unit"])
        return Cost(OWN, str(row[OWN]), unit, bool(row["lower_is_better"]))
    own = facts.get("metric")
    return NLL if own is None else Cost(OWN, str(own["name"]), str(own["unit"]), bool(own["lower_is_better"]))


@dataclass(frozen=True)
class Changes:
    """Changes of every image under every intervention.

    Attributes:
        interventions: the columns `FACTS`, one row per intervention.
        classes: names of the classes, in the order of the images.
        labels: class of each image, an index of `classes`.
        labelled: whether the network has a unit for the class of each image.
        values: `(image, intervention)` of each measure: changes of top-1, top-5 and NLL, KL in nats, agreement as 0 or
            1, or the change of the user's metric; NaN where the measure needs a label and the image has none.
        clean: top-1, top-5 and NLL, or the user's metric, of the untouched network, `(image,)`, NaN likewise.
        cost: the measure of harm.
    """

    interventions: pd.DataFrame
    classes: list[str]
    labels: NDArray[np.int64]
    labelled: NDArray[np.bool_]
    values: Mapping[str, Floats]
    clean: Mapping[str, Floats]
    cost: Cost = NLL

    @property
    def losses(self) -> Strata:
        """The harm by `cost` of all labelled images, of which there must be some, classes with equal weights."""
        return self._strata(self.cost.sign * self.values[self.cost.measure], self.labelled)

    @property
    def rows(self) -> dict[tuple[str, str], int]:
        """Row of each intervention by its sites (comma-joined) and its replacement."""
        keys = zip(self.interventions["sites"], self.interventions["replacement"], strict=True)
        return {key: row for row, key in enumerate(keys)}

    def counted(self, name: str) -> NDArray[np.bool_]:
        """Which images count for a measure."""
        return np.ones_like(self.labelled) if name in UNLABELLED else self.labelled

    def strata(self, name: str, label: int | None = None) -> Strata:
        """A measure of the images that count, of one class or of all with equal weights."""
        if label is not None:
            return Strata((self.values[name][self.counted(name) & (self.labels == label)],), "image")
        return self._strata(self.values[name], self.counted(name))

    def difference(self, name: str, first: int, other: int) -> Strata:
        """A measure under the intervention in row `first` less that in row `other` for each image."""
        values = self.values[name]
        return self._strata(values[:, [first]] - values[:, [other]], self.counted(name))

    def clean_mean(self, name: str, label: int | None = None) -> float:
        """Mean of `clean[name]` over the images of a class, or with equal weights over all classes."""
        kept = self.labelled if label is None else self.labelled & (self.labels == label)
        return float(self._strata(self.clean[name][:, None], kept).mean[0]) if kept.any() else float("nan")

    def _strata(self, values: Floats, kept: NDArray[np.bool_]) -> Strata:
        # Classes without such images have no group.
        return image_strata(values[kept], np.unique(self.labels[kept], return_inverse=True)[1])


def outcome_changes(ablation: AblationLike) -> Changes:
    """Read an ablation; refuse one without interventions or images, or with tables that do not fit the outcomes."""
    interventions = ablation.interventions.rename(columns={"name": "intervention"}).reset_index(drop=True)
    outcomes = ablation.outcomes.compute().transpose("intervention", "image", ...)
    found = outcomes.sizes["intervention"], outcomes.sizes["image"]
    expected = len(interventions), len(ablation.images)
    if found != expected or 0 in found:
        raise SeProbeError(
            f"the ablation has outcomes of {found[0]} interventions on {found[1]} images and tables of {expected[0]} "
            f"and {expected[1]}; expected equal numbers, one or more of each"
        )
    labelled = outcomes["labelled"].to_numpy().astype(bool)
    cost = cost_of(ablation.provenance)
    levels = ("top1", "top5", "nll") if cost == NLL else (OWN,)
    clean = {name: _known(outcomes[f"clean_{name}"], labelled) for name in levels}
    values = {name: _known(outcomes[name], labelled) - clean[name][:, None] for name in clean}
    if cost == NLL:
        values["kl"] = outcomes["kl"].to_numpy().T.astype(np.float64)
        values["agreement"] = outcomes["agree"].to_numpy().T.astype(np.float64)
    labels, classes = pd.factorize(ablation.images["class"])
    names = [str(name) for name in classes]
    return Changes(interventions[list(FACTS)], names, labels.astype(np.int64), labelled, values, clean, cost)


def estimate(changes: Changes, name: str, label: int | None = None, *, seed: int = 0) -> Interval:
    """A measure under each intervention with its limits, over one class or over all with equal weights (None).

    NaN limits where the spread over images is unknown because every image has the same change of NLL or the same KL,
    most often 0 with unchanged outputs. All NaN where no image counts.
    """
    counted = changes.counted(name) & ((changes.labels == label) | (label is None))
    if not counted.any():
        return Interval.unknown(np.full(len(changes.interventions), np.nan))
    units, kind = changes.strata(name, label), KINDS[name]
    if kind in ("flip", "share"):
        return flip_interval(units) if kind == "flip" else share_interval(units)
    found = paired_interval(units, seed=seed) if kind == "change" else studentized_interval(units, seed=seed)
    low, high = (np.where(found.low == found.high, np.nan, limits) for limits in (found.low, found.high))
    # A mean of non-negative values is not negative.
    return Interval(found.estimate, np.maximum(low, 0.0) if kind == "size" else low, high)


def _known(values: xr.DataArray, labelled: NDArray[np.bool_]) -> Floats:
    """`(image,)` or `(image, intervention)` in float64, NaN where an image is not labelled."""
    numbers = values.to_numpy().T.astype(np.float64)
    numbers[~labelled] = np.nan
    return numbers
