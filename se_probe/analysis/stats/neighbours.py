"""Columns that correlate most with each column, beyond the largest correlation by chance."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis.stats.moments import Floats

LEVEL = 0.05
"""Probability that a column unrelated to all others has a neighbour."""
_AT_ONCE = 512


def neighbours(values: Floats, count: int, *, least_sd: float = 0.0) -> tuple[NDArray[np.int64], Floats]:
    """Find for each column the others with the largest absolute correlation above `by_chance`, strongest first.

    Values are `(row, column)`; columns with a standard deviation below `least_sd` neither have nor are neighbours.
    Returns indices of columns, −1 for none, and Pearson's correlations, NaN for none, both `(column, count)`.
    """
    rows, columns = values.shape
    indices, correlations = np.full((columns, count), -1), np.full((columns, count), np.nan)
    moving = np.flatnonzero(values.std(axis=0) >= max(least_sd, np.finfo(np.float64).tiny))
    wanted = min(count, len(moving) - 1)
    bound = by_chance(rows, len(moving))
    if wanted < 1 or bound >= 1:
        return indices, correlations
    scores = values[:, moving].astype(np.float64)
    scores = (scores - scores.mean(axis=0)) / (scores.std(axis=0) * np.sqrt(rows))
    for start in range(0, len(moving), _AT_ONCE):
        block = np.arange(start, min(start + _AT_ONCE, len(moving)))
        r = scores[:, block].T @ scores
        size = np.abs(r)
        size[np.arange(len(block)), block] = -1
        best = np.argpartition(-size, wanted - 1, axis=1)[:, :wanted]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(size, best, 1), axis=1, kind="stable"), 1)
        kept = np.take_along_axis(size, best, 1) >= bound
        indices[moving[block], :wanted] = np.where(kept, moving[best], -1)
        correlations[moving[block], :wanted] = np.where(kept, np.take_along_axis(r, best, 1), np.nan)
    return indices, correlations


def by_chance(rows: int, columns: int) -> float:
    """Quantile 1 − `LEVEL` of the largest absolute correlation of a column with all others, for independent columns.

    Student's t with Bonferroni's correction for the other columns; 1 for fewer than four rows or two columns.
    """
    if rows < 4 or columns < 2:
        return 1.0
    t = stats.t.isf(LEVEL / (2 * (columns - 1)), rows - 2)
    return float(t / np.sqrt(rows - 2 + t**2))
