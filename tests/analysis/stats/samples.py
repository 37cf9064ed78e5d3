"""Raw images of classes, and their moments computed the plain way."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from se_probe.analysis.stats.moments import Moments


def moments(groups: Sequence[np.ndarray]) -> Moments:
    """Moments (column, class) of arrays (image, column)."""
    return Moments(
        np.array([len(group) for group in groups]),
        np.stack([group.mean(axis=0) for group in groups], axis=-1),
        np.stack([((group - group.mean(axis=0)) ** 2).sum(axis=0) for group in groups], axis=-1),
    )


def band(rate: float, runs: int) -> np.ndarray:
    """Shares of `runs` that something with a true rate of `rate` stays within."""
    return stats.binom.ppf((0.001, 0.999), runs, rate) / runs


def draw(
    seed: int, counts: Sequence[int], columns: int, *, share: float = 0.0, scale: Sequence[float] = (1.0,)
) -> list[np.ndarray]:
    """Normal images; classes drawn so that `share` of the variance is between them, on average over classes.

    `scale` repeats over columns.
    """
    rng = np.random.default_rng(seed)
    scales = np.resize(scale, columns)
    means = rng.normal(size=(len(counts), columns)) * np.sqrt(share / (1 - share))
    return [(mean + rng.normal(size=(n, columns))) * scales for mean, n in zip(means, counts, strict=True)]
