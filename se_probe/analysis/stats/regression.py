"""Linear regression of gates on covariates of the images, within classes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se_probe.analysis.stats.moments import Floats

AT_ONCE = 128
"""Permutations in memory at once."""


def explained_share(gates: NDArray[np.floating], labels: NDArray[np.int64], covariates: Floats) -> float:
    """Share of the variance of gates within classes that covariates of the images explain.

    The adjusted R² after class means are subtracted from both, with sums of squares pooled over columns and N − K and
    N − K − rank degrees of freedom. NaN where no degree of freedom is left or nothing varies within classes.

    Gates are `(image, column)`, labels 0 … K − 1, covariates `(image, covariate)`.

    Source: Ezekiel, Methods of Correlation Analysis (1930).
    """
    total, explained, free, rank = _sums_of_squares(gates, labels, covariates)
    return float(_adjusted(total.sum(), explained.sum(), free, rank))


def explained_by_column(
    gates: NDArray[np.floating],
    labels: NDArray[np.int64],
    covariates: Floats,
    *,
    permutations: int = 1999,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Share of the variance of each column within classes that covariates explain, and its p value.

    The share is that of `explained_share` for one column; p = (1 + as large) / (1 + permutations) over permutations of
    the images within each class. Both are NaN where `explained_share` is.

    Source: Anderson and Robinson, Permutation tests for linear models, Aust. N. Z. J. Stat. 43 (2001).
    """
    total, explained, free, rank = _sums_of_squares(gates, labels, covariates)
    share = _adjusted(total, explained, free, rank)
    basis, centred = _orthonormal(_within(covariates, labels)), _within(gates, labels)
    rng = np.random.default_rng(seed)
    by_class = np.argsort(labels, kind="stable")
    as_large = np.zeros(total.shape)
    for first in range(0, permutations, AT_ONCE):
        draws = min(AT_ONCE, permutations - first)
        # Sorting labels plus a random fraction permutes the images of each class among themselves.
        orders = np.argsort(labels + rng.random((draws, len(labels))), axis=1)
        shuffled = np.empty((draws, *basis.shape))
        shuffled[:, by_class] = basis[orders]
        products = np.moveaxis(shuffled, 1, 2).reshape(draws * rank, -1) @ centred
        by_chance = np.sum(products.reshape(draws, rank, -1) ** 2, axis=1)
        as_large += np.sum(by_chance >= explained * (1 - 1e-9), axis=0)
    return share, np.where(np.isfinite(share), (1 + as_large) / (1 + permutations), np.nan)


def _sums_of_squares(
    gates: NDArray[np.floating], labels: NDArray[np.int64], covariates: Floats
) -> tuple[Floats, Floats, int, int]:
    """Sum of squares of each column within classes, its explained part, degrees of freedom and rank."""
    centred, basis = _within(gates, labels), _orthonormal(_within(covariates, labels))
    rounding = np.finfo(np.float64).eps * np.abs(gates).max(axis=0, initial=0) * len(labels)
    moves = np.abs(centred).max(axis=0, initial=0) > rounding
    total, explained = (np.asarray(moves * np.sum(part**2, axis=0)) for part in (centred, basis.T @ centred))
    return total, explained, len(labels) - len(np.unique(labels)), basis.shape[1]


def _adjusted(total: ArrayLike, explained: ArrayLike, free: int, rank: int) -> Floats:
    """Adjusted R², NaN where no degree of freedom is left or nothing varies."""
    whole = np.where(np.asarray(total) > 0, total, np.nan)
    return np.asarray(1 - ((whole - explained) / (free - rank)) / (whole / free) if free > rank else np.nan * whole)


def _orthonormal(columns: Floats) -> Floats:
    """An orthonormal basis of the span of the columns, so that redundant covariates add nothing."""
    scale = np.linalg.norm(columns, axis=0)
    left, singular, _ = np.linalg.svd(columns / np.where(scale > 0, scale, 1.0), full_matrices=False)
    return np.asarray(left[:, singular > 1e-9])


def _within(values: NDArray[np.floating], labels: NDArray[np.int64]) -> Floats:
    """Rows minus the mean of their class."""
    centred = np.array(values, dtype=np.float64)
    for label in np.unique(labels):
        centred[labels == label] -= centred[labels == label].mean(axis=0)
    return centred
