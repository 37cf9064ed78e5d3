"""Predictions against the labels of the data; how labels are matched is in test_layouts."""

import random

import pytest
from scipy.stats import binom

from se_probe.images import label_disagreement


def noisy(labels, accuracy, classes, seed=0):
    dice = random.Random(seed)
    return [label if dice.random() < accuracy else dice.randrange(classes) for label in labels]


LABELS = [c for c in range(20) for _ in range(10)]


def test_good_predictions_pass():
    assert label_disagreement(LABELS, noisy(LABELS, 0.6, 1000)) is None


def test_weak_predictions_pass():
    assert label_disagreement(LABELS, noisy(LABELS, 0.15, 1000)) is None


def test_shuffled_labels_warn_and_name_both_causes():
    shuffled = [(c + 1) % 20 for c in LABELS]
    assert label_disagreement(shuffled, LABELS) == (
        "predictions agree with the labels of only 0 of 200 images (0.0%; 100.0% if the classes were renamed to "
        "fit): either the labels are shuffled (check the order of the classes) or the network is not trained"
    )


def test_indices_sorted_as_text_warn_though_some_classes_stay_in_place():
    order = sorted(range(1000), key=str)
    labels = [c for c in range(1000) for _ in range(5)]
    predictions = noisy([order[c] for c in labels], 0.7, 1000)
    assert sum(a == b for a, b in zip(labels, predictions, strict=True)) > 5
    assert "renamed to fit" in label_disagreement(labels, predictions)


def test_an_untrained_network_that_says_one_class_warns():
    warning = label_disagreement(LABELS, [3] * 200)
    assert warning.startswith("predictions agree with the labels of only 10 of 200 images (5.0%; 5.0% if")


def test_random_predictions_warn():
    assert label_disagreement(LABELS, noisy(LABELS, 0.0, 1000)) is not None


def test_too_little_to_tell():
    assert label_disagreement([0] * 25 + [1] * 25, [9] * 50) is None
    assert label_disagreement(list(range(10)) * 4, [99] * 40) is None


def test_images_without_a_unit_do_not_count():
    assert label_disagreement([None] * 500, [1] * 500) is None
    assert label_disagreement([*LABELS, *[None] * 500], [*LABELS, *[1] * 500]) is None


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter than argument 1"):
        label_disagreement([1, 2], [1])


@pytest.mark.parametrize("correct", range(6))
def test_the_bar_is_one_in_a_thousand_by_the_binomial_test(correct):
    labels = [c for c in range(40) for _ in range(4)]
    predictions = [label if place % 4 == 0 and place < 4 * correct else 999 for place, label in enumerate(labels)]
    chance = 4 * correct / len(labels) ** 2
    p_value = 1.0 if correct == 0 else float(binom.sf(correct - 1, len(labels), chance))
    assert (label_disagreement(labels, predictions) is not None) == (p_value > 1e-3)
