"""What a watched step says of each site, and when a line is said about one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from se_probe.analysis.stats.moments import Floats
from se_probe.analysis.stats.states import FEWEST_STATE_IMAGES, STATES, channel_states, site_verdict
from se_probe.gates import GateSite

NUMBERS = ("mean_gate", "sd", *STATES)
"""The numbers of a row."""
PATIENCE = 2
"""Rows in a row that must find a site still before it is said: one may be chance."""


@dataclass(frozen=True)
class Batch:
    """Gates of a batch: number of images, and mean and sum of squared deviations of each column."""

    images: int
    mean: Floats
    m2: Floats


def measured(sites: Sequence[GateSite], batches: Sequence[Batch]) -> Iterator[dict[str, Any]]:
    """Yield what some batches, whose columns are all sites side by side, say of each site.

    The spread is that within batches, pooled: between them weights have moved, which is no dependence on the image.
    """
    images = sum(batch.images for batch in batches)
    freedom = sum(batch.images - 1 for batch in batches)
    mean = np.sum([batch.images * batch.mean for batch in batches], axis=0) / images
    known = freedom >= FEWEST_STATE_IMAGES - 1
    variance = np.sum([batch.m2 for batch in batches], axis=0) / max(freedom, 1)
    spread = np.sqrt(variance) if known else np.full_like(mean, np.nan)
    first = 0
    for site in sites:
        here = slice(first, first := first + site.channels * site.branches)
        states = channel_states(mean[here], spread[here], bounded=site.bounded)
        yield {
            "site": site.name,
            "images": images,
            "mean_gate": float(mean[here].mean()),
            "sd": float(np.sqrt(np.mean(spread[here] ** 2))),
            **{state: float(np.mean(states == state)) if known else float("nan") for state in STATES},
            "verdict": site_verdict(mean[here], states),
        }


class SiteAlarm:
    """Says when a site that was live no longer is, and when it is again."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._rows = self._still = 0
        self._lived = self._said = False

    def line(self, row: Mapping[str, Any]) -> str | None:
        """Return what is to be said of the next row of the site, None for nothing."""
        verdict = row["verdict"]
        if verdict == "unknown":
            return None
        self._rows += 1
        if verdict == "live":
            again, self._said, self._lived, self._still = self._said, False, True, 0
            return f"step {row['step']}: the gates of {self._site} depend on the image again" if again else None
        self._still += 1
        if not self._lived or self._said or self._still < PATIENCE:
            return None
        self._said = True
        return (
            f"step {row['step']}: the gates of {self._site} are {verdict}: {1 - row['dynamic']:.0%} of its channels "
            f"hardly depend on the image (mean gate {row['mean_gate']:.2f}, SD {row['sd']:.4f} over {row['images']} "
            "images)"
        )

    def at_end(self) -> str | None:
        """Return what is to be said of a site that was live at no watched step."""
        if self._lived or self._rows < PATIENCE:
            return None
        return f"the gates of {self._site} depended on the image at none of {self._rows} watched steps"
