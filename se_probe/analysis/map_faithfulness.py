"""Faithfulness of maps: the effect of masking by them on a gate's logit, against random areas of equal size."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.stats.intervals import student


@dataclass(frozen=True)
class Masked:
    """Effect of masking at one site.

    Attributes:
        changes: change of the logit, `(mask, image, channel)`; masks are highest, lowest, random.
        logits: without a mask, `(image, channel)`.
    """

    changes: NDArray[np.float64]
    logits: NDArray[np.float64]


def map_faithfulness(masked: Mapping[str, Masked]) -> pd.DataFrame:
    """Changes of a gate's logit when pixels are masked where its map is highest or lowest.

    One row a site: `site`, `images`, `channels`; `logit_sd`, the standard deviation of the logits over images (root
    mean square over channels), for scale; `highest`, `lowest` and `random`, mean change of the logit;
    `highest_minus_random` with `highest_ci_low` and `highest_ci_high`, and the same for `lowest`: paired differences,
    channels averaged within an image, Student's t over images at 95 %; `better_than_random`, whether by both intervals
    masking the highest part lowers the logit more, and the lowest part less, than chance.
    """
    return pd.DataFrame([{"site": site, **_row(item)} for site, item in masked.items()])


def _row(item: Masked) -> dict[str, object]:
    highest, lowest, random = item.changes.mean(axis=2)
    images, channels = item.logits.shape
    spread = np.sqrt(np.mean(np.var(item.logits, axis=0, ddof=1))) if images > 1 else np.nan
    high, high_low, high_high = _paired(highest - random)
    low, low_low, low_high = _paired(lowest - random)
    return {
        "images": images,
        "channels": channels,
        "logit_sd": float(spread),
        "highest": float(highest.mean()),
        "lowest": float(lowest.mean()),
        "random": float(random.mean()),
        "highest_minus_random": high,
        "highest_ci_low": high_low,
        "highest_ci_high": high_high,
        "lowest_minus_random": low,
        "lowest_ci_low": low_low,
        "lowest_ci_high": low_high,
        "better_than_random": bool(high_high < 0 < low_low),
    }


def _paired(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean difference over images with its limits, NaN limits for one image."""
    count, mean = len(differences), float(differences.mean())
    if count < 2:
        return mean, np.nan, np.nan
    reach = student(count - 1) * float(differences.std(ddof=1)) / np.sqrt(count)
    return mean, mean - reach, mean + reach
