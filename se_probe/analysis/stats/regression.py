"""Linear regression of gates on covariates of the images, within classes."""

import numpy as np
from numpy.typing import NDArray

from se_probe.analysis.stats.moments import Floats


def explained_share(gates: NDArray[np.floating], labels: NDArray[np.int64], covariates: Floats) -> float:
    """Share of the variance of gates within classes that covariates of the images explain.

    Both are taken less their class means; sums of squares are pooled over columns and divided by their degrees of
    freedom, N − K and N − K − rank: the adjusted R², at most 1, unbiased in numerator and denominator. NaN where no
    degree of freedom is left or nothing varies within classes.

    Args:
        gates: `(image, column)`.
        labels: class of each image, 0 … K − 1.
        covariates: `(image, covariate)`.

    Source: Ezekiel, Methods of Correlation Analysis (1930).
    """
    centred = _within(np.asarray(gates, dtype=np.float64), labels)
    columns = _within(np.asarray(covariates, dtype=np.float64), labels)
    scale = np.linalg.norm(columns, axis=0)
    left, singular, _ = np.linalg.svd(columns / np.where(scale > 0, scale, 1.0), full_matrices=False)
    # An orthonormal basis: covariates that repeat others add nothing.
    basis = left[:, singular > 1e-9]
    free = len(labels) - len(np.unique(labels))
    rest = free - basis.shape[1]
    rounding = np.finfo(np.float64).eps * np.abs(gates).max(initial=0) * len(labels)
    if rest < 1 or np.abs(centred).max(initial=0) <= rounding:
        return float("nan")
    total = np.sum(centred**2)
    unexplained = total - np.sum((basis.T @ centred) ** 2)
    return float(1 - (unexplained / rest) / (total / free))


def _within(values: Floats, labels: NDArray[np.int64]) -> Floats:
    """Rows less the mean of their class."""
    centred = values.copy()
    for label in np.unique(labels):
        centred[labels == label] -= values[labels == label].mean(axis=0)
    return centred
