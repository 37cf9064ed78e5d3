"""Cross-validated linear classification of the class from the gates, with scikit-learn.

scikit-learn takes a second to import, so it is imported where something is classified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from se_probe.analysis.stats.intervals import CONFIDENCE
from se_probe.analysis.stats.moments import Floats

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FOLDS = 5
REPEATS = 2
PENALTY = 0.01
"""Inverse strength of the L2 penalty; gates have far more channels than there are images."""


@dataclass(frozen=True)
class Decoding:
    """Balanced accuracy of a linear classifier on images that it has not seen.

    Attributes:
        folds: balanced accuracy of each test fold, all repeats.
        accuracy: their mean.
        low: lower confidence limit.
        high: upper confidence limit.
        chance: 1 / classes, the accuracy of guesses that ignore the gates.
    """

    folds: Floats
    accuracy: float
    low: float
    high: float
    chance: float


def classifier() -> Pipeline:
    """Multinomial logistic regression on standardised gates; classes weigh the same, whatever their counts."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000, tol=1e-3)
    )


def decode(
    gates: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Decoding:
    """Classify `labels`, 0 … K − 1, from `gates` (image, column) by stratified cross-validation.

    Means and standard deviations come from the training folds only. There are fewer folds where the smallest
    class has fewer images; NaN for fewer than two classes or a class with one image. Each limit is the more
    careful of two: Nadeau and Bengio's corrected t over test folds, which allows for their shared training
    images but is too short where all folds agree, and Wilson's for as many images as there are.

    Args:
        gates: `(image, column)`.
        labels: class of each image, 0 … K − 1.
        folds: folds of the cross-validation.
        repeats: how often it is repeated with other folds.
        seed: seed of the random numbers.
        confidence: confidence of the limits.

    Source: Alain and Bengio, Understanding intermediate layers using linear classifier probes (2016); Nadeau
    and Bengio, Inference for the generalization error, Machine Learning 52 (2003); Wilson, JASA 22 (1927);
    Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010.
    """
    from sklearn.model_selection import RepeatedStratifiedKFold

    counts = np.bincount(labels)
    parts = min(folds, int(counts.min()))
    chance = 1 / len(counts)
    if len(counts) < 2 or parts < 2:
        return Decoding(np.empty(0), np.nan, np.nan, np.nan, chance)
    splits = RepeatedStratifiedKFold(n_splits=parts, n_repeats=repeats, random_state=seed).split(gates, labels)
    accuracies = np.array([_fold(np.asarray(gates, dtype=np.float64), labels, train, test) for train, test in splits])
    accuracy = float(accuracies.mean())
    limits = (_corrected_t(accuracies, parts, confidence), _wilson(accuracy, len(labels), confidence))
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    return Decoding(accuracies, accuracy, max(low, 0.0), min(high, 1.0), chance)


def _fold(gates: Floats, labels: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]) -> float:
    from sklearn.metrics import balanced_accuracy_score

    model = classifier().fit(gates[train], labels[train])
    return float(balanced_accuracy_score(labels[test], model.predict(gates[test])))


def _corrected_t(accuracies: Floats, parts: int, confidence: float) -> tuple[float, float]:
    """Variance of a mean over J folds: s² (1/J + n_test/n_train)."""
    size = len(accuracies)
    error = np.sqrt(np.var(accuracies, ddof=1) * (1 / size + 1 / (parts - 1)))
    reach = float(stats.t.ppf((1 + confidence) / 2, size - 1) * error)
    return float(accuracies.mean()) - reach, float(accuracies.mean()) + reach


def _wilson(accuracy: float, images: int, confidence: float) -> tuple[float, float]:
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = (accuracy + z**2 / (2 * images)) / (1 + z**2 / images)
    reach = z / (1 + z**2 / images) * float(np.sqrt(accuracy * (1 - accuracy) / images + z**2 / (4 * images**2)))
    return centre - reach, centre + reach
