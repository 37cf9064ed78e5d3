"""Similarity of two representations of the same images, invariant to rotation and scale: CKA and RSA."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

from se_probe.analysis.stats.intervals import Interval, fisher, jackknife_error, student
from se_probe.analysis.stats.moments import Floats

FEWEST_IMAGES = 5
"""Fewest images for which CKA and its jackknife are defined."""
FEWEST_CLASSES = 10
"""Fewest classes for a rank correlation of distances; with fewer, its interval is nearly −1 to 1."""


def centred_gram(values: NDArray[np.floating]) -> Floats:
    """U-centred Gram matrix `(image, image)` of `values` (image, column), with diagonal 0 and rows that sum to 0.

    The sum of the products of two such matrices over n(n − 3) is the unbiased estimator HSIC₁ of Song et al. with
    linear kernels. NaN for fewer than `FEWEST_IMAGES` images, where nothing varies by more than rounding, and where a
    single image differs from all others.

    Source: Song et al., Feature selection via dependence maximization, JMLR 13 (2012), equation 5; in this form Székely
    and Rizzo, Partial distance correlation, Annals of Statistics 42 (2014), section 2.
    """
    rows = np.asarray(values, dtype=np.float64)
    images = len(rows)
    centred = rows - rows.mean(axis=0)
    rounding = np.finfo(np.float64).eps * images
    if images < FEWEST_IMAGES or np.abs(centred).max(initial=0) <= rounding * np.abs(rows).max(initial=0):
        return np.full((images, images), np.nan)
    gram: Floats = centred @ centred.T
    size = np.linalg.norm(gram)
    np.fill_diagonal(gram, 0)
    sums = gram.sum(axis=1) / (images - 2)
    gram += sums.sum() / (images - 1) - sums[:, None] - sums
    np.fill_diagonal(gram, 0)
    return gram if np.linalg.norm(gram) > rounding * size else np.full((images, images), np.nan)


def linear_cka(first: Floats, second: Floats) -> Interval:
    """Centred kernel alignment of two representations, from the `centred_gram` of each over the same images.

    Debiased: the ratio of unbiased estimators of HSIC. It is about 0 for unrelated representations, whatever the
    numbers of images and columns, and can fall below 0. It is 1 for representations that differ by a rotation, a shift
    and one scale for all columns, so it does not show how much they vary. The limits are for another draw of images
    (delete-one jackknife on Fisher's scale). NaN where either does not vary.

    Source: Kornblith et al., Similarity of neural network representations revisited, ICML 2019; Nguyen et al., Do wide
    and deep networks learn the same things?, ICLR 2021, for the unbiased estimator.
    """
    cross, own, other = (np.einsum("ij,ij->i", a, b) for a, b in ((first, second), (first, first), (second, second)))
    images = len(first)
    estimate = _ratio(cross.sum(), own.sum(), other.sum())
    # Rows of U-centred matrices sum to 0, so HSIC without an image follows from that image's row.
    taken = 2 * (images - 2) / (images - 3)
    without = _ratio(*(sums.sum() - taken * sums for sums in (cross, own, other)))
    reach = student(images - 1) * jackknife_error(fisher(without))
    return Interval(estimate, np.tanh(fisher(estimate) - reach), np.tanh(fisher(estimate) + reach))


def cka_matrix(first: list[Floats], second: list[Floats]) -> Floats:
    """`linear_cka`, without limits, for every pair of `first` and `second`."""
    return _cosines([gram.ravel() for gram in first], [gram.ravel() for gram in second])


def rsa_matrix(first: list[Floats], second: list[Floats]) -> Floats:
    """Spearman correlation over pairs of classes for every pair of square distance matrices of `first` and `second`.

    `stats.similarity.matrix_correlations` also gives limits. NaN for fewer than `FEWEST_CLASSES` classes and for a
    matrix that has only ties or lacks a distance.

    Source: Kriegeskorte et al., Representational similarity analysis, Frontiers in Systems Neuroscience 2 (2008).
    """
    return _cosines([_centred_ranks(item) for item in first], [_centred_ranks(item) for item in second])


def _centred_ranks(distances: Floats) -> Floats:
    pairs = distance.squareform(distances, checks=False)
    if len(distances) < FEWEST_CLASSES or np.isnan(pairs).any() or np.ptp(pairs) == 0:
        return np.full(pairs.shape, np.nan)
    ranks = stats.rankdata(pairs)
    return np.asarray(ranks - ranks.mean())


def _cosines(first: list[Floats], second: list[Floats]) -> Floats:
    left, right = np.stack(first), np.stack(second)
    return np.asarray(left @ right.T / np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)))


def _ratio(cross: Floats, own: Floats, other: Floats) -> Floats:
    """CKA from three sums; NaN where nothing varies after an image is left out."""
    return np.asarray(cross / np.sqrt(np.where(own * other > 0, own * other, np.nan)))
