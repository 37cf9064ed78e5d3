"""Cross-validated linear classification of the class from the gates, with scikit-learn, which is imported late."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from se_probe.analysis.stats.intervals import student, wilson
from se_probe.analysis.stats.moments import Floats

FOLDS = 5
REPEATS = 2
PENALTY = 0.01
"""Inverse strength of the L2 penalty; gates have far more channels than there are images."""


@dataclass(frozen=True)
class Decoding:
    """Balanced accuracy of a linear classifier on held-out images, with its confidence limits.

    Attributes:
        folds: balanced accuracy of each test fold, all repeats.
        accuracy: their mean.
        chance: 1 / classes.
    """

    folds: Floats
    accuracy: float
    low: float
    high: float
    chance: float


def decode(
    gates: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Decoding:
    """Classify images by their gates, with stratified cross-validation of a multinomial logistic regression.

    Gates `(image, column)` are standardised by the training folds; classes have equal weights. There are at most as
    many folds as the smallest class has images; NaN for fewer than two classes or a class with one image. Each limit is
    the wider of two: Nadeau and Bengio's corrected t over test folds, which allows for their shared training images but
    is too short where all folds agree, and Wilson's for the number of images.

    Source: Alain and Bengio, Understanding intermediate layers using linear classifier probes (2016); Nadeau
    and Bengio, Inference for the generalization error, Machine Learning 52 (2003); Brodersen et al.,
    The balanced accuracy and its posterior distribution, ICPR 2010.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = np.bincount(labels)
    parts = min(folds, int(counts.min()))
    chance = 1 / len(counts)
    if len(counts) < 2 or parts < 2:
        return Decoding(np.empty(0), np.nan, np.nan, np.nan, chance)
    regression = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000, tol=1e-3)
    accuracies = cross_val_score(
        make_pipeline(StandardScaler(), regression),
        np.asarray(gates, dtype=np.float64),
        labels,
        scoring="balanced_accuracy",
        cv=RepeatedStratifiedKFold(n_splits=parts, n_repeats=repeats, random_state=seed),
        error_score="raise",
    )
    accuracy, size = float(accuracies.mean()), len(accuracies)
    # Variance of a mean over J folds: s² (1/J + n_test/n_train).
    reach = student(size - 1) * np.sqrt(np.var(accuracies, ddof=1) * (1 / size + 1 / (parts - 1)))
    low, high = wilson(np.asarray(accuracy), len(labels))
    low, high = np.clip([np.minimum(low, accuracy - reach), np.maximum(high, accuracy + reach)], 0.0, 1.0)
    return Decoding(accuracies, accuracy, float(low), float(high), chance)
