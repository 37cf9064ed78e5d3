"""Likeness and scale of class patterns without the noise of means, on gates whose true means are known."""

import numpy as np
import pytest

from se_probe.analysis.findings.pattern import likeness, pattern_correlation, pattern_covariance, pattern_scale
from se_probe.analysis.gates import SiteGates, SiteMoments
from tests.analysis.raw_recording import GateSite

SITE = GateSite("SE_5_3", 5, 3, 40)


def made(true, images, within, together=0.0, seed=0):
    """Moments of images about the true means (column, class); a share of their variance moves all columns at once."""
    rng = np.random.default_rng(seed)
    columns, classes = true.shape
    shape = (classes, images, columns)
    noise = np.sqrt(1 - together) * rng.normal(size=shape) + np.sqrt(together) * rng.normal(size=(*shape[:2], 1))
    values = true.T[:, None] + within * noise
    mean = values.mean(axis=1)
    m2 = np.sum((values - mean[:, None]) ** 2, axis=1)
    names = [str(place) for place in range(classes)]
    moments = SiteMoments(np.full(classes, images), mean.T, m2.T, SITE, names)
    labels = np.repeat(np.arange(classes), images)
    return moments, SiteGates(values.reshape(-1, columns), labels, names), np.arange(classes)


def test_without_noise_it_is_the_correlation_with_the_other_classes_weighted_by_variance():
    true = np.random.default_rng(3).uniform(size=(9, 1)) + 0.3 * np.random.default_rng(4).uniform(size=(9, 4))
    rest = [np.delete(true, place, axis=1).mean(axis=1) for place in range(4)]
    correlations = [np.corrcoef(true[:, place], rest[place])[0, 1] for place in range(4)]
    expected = np.average(np.square(correlations), weights=np.var(true, axis=0)) ** 0.5
    assert likeness(np.cov(true.T)) == pytest.approx(expected)


def test_scaled_patterns_are_alike_and_opposite_ones_are_not():
    profile = np.linspace(0.2, 0.6, 9)
    assert likeness(np.cov(np.outer(profile, [0.5, 1.0, 1.5]).T)) == pytest.approx(1)
    assert likeness(np.cov(np.outer(profile, [1.0, 1.0, 1.0, -1.0]).T)) < 0.8


@pytest.mark.parametrize("together", [0.0, 0.6])
def test_the_covariance_of_true_means_is_unbiased_also_where_images_move_all_columns(together):
    rng = np.random.default_rng(0)
    true = rng.normal(0.5, 0.1, (40, 5))
    centred = true - true.mean(axis=0)
    found = [pattern_covariance(*made(true, 10, 0.2, together, seed)[:2]) for seed in range(300)]
    np.testing.assert_allclose(np.mean(found, axis=0), centred.T @ centred / 40, atol=5e-4)


def test_limits_cover_the_truth_for_identical_patterns():
    true = np.repeat(np.linspace(0.45, 0.55, 40)[:, None], 12, axis=1)
    samples = [made(true, 10, 0.08, 0.3, seed) for seed in range(60)]
    correlations, intervals = zip(*(pattern_correlation(*sample) for sample in samples), strict=True)
    assert np.mean([high >= 0.999 for _, high in intervals]) > 0.9
    assert np.mean(correlations) == pytest.approx(1, abs=0.02)
    assert np.median([pattern_scale(*sample)[0] for sample in samples]) < 0.03


def test_the_scale_is_that_of_true_patterns_whatever_the_number_of_images():
    scales = np.exp(np.linspace(-0.2, 0.2, 15))
    true = np.outer(np.linspace(0.2, 0.6, 40), scales)
    expected = 1.96 * np.std(scales, ddof=1)
    for images in (6, 60):
        found = [pattern_scale(*made(true, images, 0.3, 0.5, seed))[0] for seed in range(40)]
        assert np.mean(found) == pytest.approx(expected, rel=0.1)
