"""Check that a network's predictions and the labels of the data belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_SIGNIFICANCE = 1e-3
_FEWEST_IMAGES = 50
_FEWEST_CLASSES = 5
_FEWEST_PER_CLASS = 5
_SHUFFLED_RATIO = 0.25


def label_disagreement(labels: Sequence[int | None], predictions: Sequence[int]) -> str | None:
    """Return a warning where predictions and labels disagree as only shuffled labels, or no training, explain.

    Asked of at least 50 labelled images of at least 5 classes. The line is given when the top-1 accuracy is not
    above what predictions that ignore the labels would give (one-sided binomial test at 0.001), or is below a
    quarter of what it would be if each class had the name that the network most often gives it (asked with 5
    images a class or more). Labels are output units; None stands for an image whose class has none.

    Raises:
        ValueError: there are not as many predictions as labels.
    """
    from scipy.stats import binomtest  # takes half a second, which other uses of this package need not wait for

    pairs = [(true, made) for true, made in zip(labels, predictions, strict=True) if true is not None]
    classes = Counter(true for true, _ in pairs)
    if len(pairs) < _FEWEST_IMAGES or len(classes) < _FEWEST_CLASSES:
        return None
    correct = sum(true == made for true, made in pairs)
    made_counts = Counter(made for _, made in pairs)
    chance = sum(count * made_counts[true] for true, count in classes.items()) / len(pairs) ** 2
    renamed = _renamed_accuracy(pairs) if len(pairs) >= _FEWEST_PER_CLASS * len(classes) else 0.0
    accuracy = correct / len(pairs)
    above_chance = binomtest(correct, len(pairs), chance, alternative="greater").pvalue <= _SIGNIFICANCE
    if above_chance and accuracy >= _SHUFFLED_RATIO * renamed:
        return None
    return (
        f"predictions agree with the labels of only {correct} of {len(pairs)} images ({accuracy:.1%}; "
        f"{renamed:.1%} if the classes were renamed to fit): either the labels are shuffled (check the order of the "
        "classes) or the network is not trained"
    )


def _renamed_accuracy(pairs: Sequence[tuple[int, int]]) -> float:
    """Accuracy if each class were called by the prediction most frequent in it, each name given once."""
    taken: set[int] = set()
    named: set[int] = set()
    correct = 0
    for (true, made), count in sorted(Counter(pairs).items(), key=lambda item: (-item[1], item[0])):
        if true not in named and made not in taken:
            named.add(true)
            taken.add(made)
            correct += count
    return correct / len(pairs)
