"""Distances and areas under the curve against loops, other libraries and simulations."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from se_probe.analysis.stats.detection import left_out_distances, paired_curve
from tests.analysis.stats.samples import moments


def moments_of(values, labels):
    return moments([values[labels == name] for name in np.unique(labels)])


def test_distances_are_those_of_moments_made_without_the_image():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 14)
    plain = rng.normal(0.5, 0.1, (14, 6)) + labels[:, None] * 0.05
    changed = plain + rng.normal(0.1, 0.1, plain.shape)
    whole = moments_of(plain, labels)
    for values in (plain, changed):
        found = left_out_distances(values, plain, labels, whole)
        for image in range(14):
            rest = np.arange(14) != image
            others = moments_of(plain[rest], labels[rest])
            variance = others.m2.sum(axis=1) / (rest.sum() - 3)
            expected = min(np.sum((values[image] - mean) ** 2 / variance) for mean in others.mean.T)
            assert found[image] == pytest.approx(expected, rel=1e-9)


def test_a_class_of_one_image_is_left_out_for_that_image():
    rng = np.random.default_rng(1)
    labels = np.array([0] * 6 + [1])
    plain = rng.normal(size=(7, 3))
    found = left_out_distances(plain, plain, labels, moments_of(plain, labels))
    others = moments_of(plain[:6], labels[:6])
    expected = np.sum((plain[6] - others.mean[:, 0]) ** 2 / (others.m2[:, 0] / 5))
    assert found[6] == pytest.approx(expected)


def test_plain_images_of_one_kind_are_no_farther_than_others():
    """Counted among the moments, the images at hand would be nearer than new ones, most of all in many channels."""
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 15)
    plain, other = (rng.normal(size=(30, 200)) for _ in range(2))
    whole = moments_of(plain, labels)
    distances = [left_out_distances(values, plain, labels, whole).mean() for values in (plain, other)]
    assert distances[0] == pytest.approx(distances[1], rel=0.05)


def test_area_is_that_of_all_pairs_but_an_images_own():
    rng = np.random.default_rng(3)
    plain = rng.normal(size=(25, 2)).round(1)
    changed = (plain + rng.normal(0.3, 1, plain.shape)).round(1)
    found = paired_curve(plain, changed)
    for column in range(2):
        pairs = [
            (changed[i, column] > plain[j, column]) + 0.5 * (changed[i, column] == plain[j, column])
            for i in range(25)
            for j in range(25)
            if i != j
        ]
        assert found.area[column] == pytest.approx(np.mean(pairs))


def test_area_of_many_images_is_mann_whitneys():
    rng = np.random.default_rng(4)
    plain, changed = rng.normal(size=(2000, 1)), rng.normal(0.7, 1, (2000, 1))
    expected = mannwhitneyu(changed[:, 0], plain[:, 0]).statistic / 2000**2
    assert paired_curve(plain, changed).area[0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("images", "shift"), [(20, 1.5), (50, 0.3), (50, 3.0)])
def test_intervals_cover_the_area_of_paired_scores(images, shift):
    rng = np.random.default_rng(5)
    truth, hits = norm.cdf(shift / np.sqrt(3.25)), 0
    for _ in range(600):
        own = rng.normal(size=images)
        plain = own + 0.5 * rng.normal(size=images)
        changed = own + shift + rng.normal(size=images)
        interval = paired_curve(plain[:, None], changed[:, None]).interval()
        hits += interval.low[0] <= truth <= interval.high[0]
    # Four standard errors of 600 around 95 %.
    assert 0.914 <= hits / 600 <= 0.986


def test_intervals_of_a_difference_cover_it():
    rng = np.random.default_rng(6)
    hits = 0
    truth = norm.cdf(1 / np.sqrt(2)) - norm.cdf(0.5 / np.sqrt(2))
    for _ in range(600):
        plain, changed = rng.normal(size=(40, 2)), rng.normal((1, 0.5), 1, (40, 2))
        apart, low, high = paired_curve(plain, changed).difference(0, 1)
        assert low < apart < high
        hits += low <= truth <= high
    assert 0.914 <= hits / 600 <= 0.986


def test_scores_that_are_told_apart_or_missing():
    plain = np.column_stack([np.arange(10.0), np.arange(10.0) + 100, np.full(10, np.nan), np.zeros(10)])
    changed = np.column_stack([np.arange(10.0) + 100, np.arange(10.0), np.zeros(10), np.zeros(10)])
    found = paired_curve(plain, changed)
    interval = found.interval()
    np.testing.assert_array_equal(found.area, [1, 0, np.nan, 0.5])
    # Wilson's limits of 10 of 10 and 0 of 10.
    slack = norm.ppf(0.975) ** 2 / (10 + norm.ppf(0.975) ** 2)
    np.testing.assert_allclose(interval.low[:3], [1 - slack, 0, np.nan])
    np.testing.assert_allclose(interval.high[:3], [1, slack, np.nan])
