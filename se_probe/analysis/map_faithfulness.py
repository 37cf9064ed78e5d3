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

    One row per site: `site`, `images`, `channels`; `logit_sd`, the standard deviation of the logits over images (root
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
    means = {"highest": float(highest.mean()), "lowest": float(lowest.mean()), "random": float(random.mean())}
    high, low = _paired("highest", highest - random), _paired("lowest", lowest - random)
    better = high["highest_ci_high"] < 0 < low["lowest_ci_low"]
    facts = {"images": images, "channels": channels, "logit_sd": float(spread)}
    return {**facts, **means, **high, **low, "better_than_random": better}


def _paired(name: str, differences: NDArray[np.float64]) -> dict[str, float]:
    """Mean difference over images with its limits, NaN limits for one image."""
    count, mean = len(differences), float(differences.mean())
    reach = student(count - 1) * float(differences.std(ddof=1)) / count**0.5 if count > 1 else np.nan
    return {f"{name}_minus_random": mean, f"{name}_ci_low": mean - reach, f"{name}_ci_high": mean + reach}
