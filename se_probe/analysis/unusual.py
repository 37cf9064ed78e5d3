"""Gates of an image that are unusual among all classes of a recording, and how many are expected by chance."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from se_probe.analysis.gates import SiteMoments, columns_of, site_moments
from se_probe.analysis.protocols import GateRecording, SiteLike
from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.states import STATIC_SD
from se_probe.errors import SeProbeError

THRESHOLD = 3.0
"""Standard deviations from the mean of all classes beyond which a gate counts as unusual."""

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


@dataclass(frozen=True)
class UnusualGates:
    """Gates of some images compared with those of a recording.

    Attributes:
        table: one row per image, site, branch and channel, the most unusual of each image first: `image` (from 0),
            `site`, `branch`, `channel`, `gate`, `mean` and `sd` (of all classes of the recording with equal weights),
            and `deviation`, the gate less the mean in standard deviations; missing where `sd` is below `STATIC_SD`.
        count: gates of each image beyond `THRESHOLD` standard deviations, `(image,)`.
        recorded: the same count for each kept image of the recording.
        compared: number of gates compared for an image.
    """

    table: pd.DataFrame = field(repr=False)
    count: NDArray[np.int64]
    recorded: NDArray[np.int64] = field(repr=False)
    compared: int

    def sentence(self, image: int) -> str:
        """Say how many gates of an image are unusual, and how many are in images of the recording."""
        low, high = np.quantile(self.recorded, [0.025, 0.975])
        return (
            f"{self.count[image]} of {self.compared:,} gates are over {THRESHOLD:g} standard deviations from the mean "
            f"of all classes; the {len(self.recorded)} kept images of the run have {self.recorded.mean():.0f} on "
            f"average, 95 % of them {low:.0f} to {high:.0f}."
        )


def unusual_gates(recording: GateRecording, gates: Mapping[str, ArrayLike]) -> UnusualGates:
    """Compare gates of images with the distribution over all classes of a recording, channel by channel.

    `gates` are `(image, channel)` or `(image, branch, channel)`, by the names of all sites of the recording.

    Raises:
        SeProbeError: the sites or their numbers of channels are not those of the recording.
    """
    names = [site.name for site in recording.sites]
    if missing := [name for name in names if name not in gates]:
        raise SeProbeError(f"there are no gates of {', '.join(missing)}; expected those of the recording's sites.")
    tables, counts, recorded = [], [], []
    compared = 0
    for site in recording.sites:
        moments = site_moments(recording, site)
        values = np.asarray(gates[site.name], dtype=np.float64)
        values = values.reshape(len(values), -1)
        if values.shape[1] != len(moments.mean):
            raise SeProbeError(
                f"{site.name} has {values.shape[1]} gates per image; expected the {len(moments.mean)} of the "
                "recording: record this network."
            )
        own = recording.gates(site.name).to_numpy()
        deviation = _deviations(moments, values)
        compared += int(np.isfinite(deviation[0]).sum()) if len(values) else 0
        counts.append(_beyond(deviation))
        recorded.append(_beyond(_deviations(moments, own.reshape(len(own), -1))))
        tables.append(gate_rows(site, gate=values, mean=moments.mean_gate, sd=moments.total_sd, deviation=deviation))
    table = pd.concat(tables, ignore_index=True)
    order = np.lexsort([-table["deviation"].abs().fillna(0.0), table["image"]])
    table = table.iloc[order].reset_index(drop=True)
    return UnusualGates(table, np.sum(counts, axis=0), np.sum(recorded, axis=0), compared)


def _deviations(moments: SiteMoments, values: Floats) -> Floats:
    """Distance of gates (image, column) from the mean of all classes, in standard deviations; NaN for static gates."""
    sd = np.where(moments.total_sd >= STATIC_SD, moments.total_sd, np.nan)
    return np.asarray((values - moments.mean_gate) / sd)


def _beyond(deviation: Floats) -> NDArray[np.int64]:
    return np.asarray(np.sum(np.abs(deviation) > THRESHOLD, axis=1))


def gate_rows(site: SiteLike, **columns: ArrayLike) -> pd.DataFrame:
    """Return values of a site's gates as a table: `image` (from 0), `site`, `branch`, `channel`, and the columns.

    Columns are `(image, channel)` or `(image, branch, channel)`, or without `image` where all images share them.
    """
    facts = columns_of(site)
    values = {name: np.asarray(column, dtype=np.float64).reshape(-1, len(facts)) for name, column in columns.items()}
    images = max(len(column) for column in values.values())
    table = facts.loc[np.tile(facts.index, images)].reset_index(drop=True)
    table.insert(0, "image", np.repeat(np.arange(images), len(facts)))
    broadcast = {name: np.broadcast_to(column, (images, len(facts))).ravel() for name, column in values.items()}
    return table.assign(**broadcast)


def evidence_place(contributions: NDArray[np.floating]) -> str | None:
    """Name the ninth of a map with most of its positive part, as in "upper left 34 %"; None where it has none.

    Contributions are `(height, width)`, at least three by three; even ones give 11 %.
    """
    positive = np.maximum(contributions, 0.0)
    if not positive.sum() > 0:
        return None
    bands = [np.array_split(band, len(_COLUMNS), axis=1) for band in np.array_split(positive, len(_ROWS), axis=0)]
    sums = np.array([[part.sum() for part in band] for band in bands])
    row, column = np.unravel_index(np.argmax(sums), sums.shape)
    name = "centre" if row == column == 1 else f"{_ROWS[row]} {_COLUMNS[column]}"
    return f"{name} {100 * sums[row, column] / positive.sum():.0f} %"
