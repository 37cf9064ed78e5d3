"""The kernels against numpy on raw float64 data, and an unbiasedness check by simulation."""

import numpy as np
import pytest

from se_probe.analysis.stats import moments

RAW = [np.random.default_rng(k).normal(k, 1 + k, size=(n, 5)) for k, n in enumerate((4, 7, 12))]
COUNT = np.array([len(raw) for raw in RAW])
MEAN = np.stack([raw.mean(axis=0) for raw in RAW], axis=-1)
M2 = np.stack([((raw - raw.mean(axis=0)) ** 2).sum(axis=0) for raw in RAW], axis=-1)


def test_variance_is_that_of_the_images():
    expected = np.stack([raw.var(axis=0, ddof=1) for raw in RAW], axis=-1)
    np.testing.assert_allclose(moments.unbiased_variance(COUNT, M2), expected, rtol=1e-13)


def test_standard_error_is_deviation_over_root_of_count():
    expected = np.stack([raw.std(axis=0, ddof=1) / len(raw) ** 0.5 for raw in RAW], axis=-1)
    np.testing.assert_allclose(moments.standard_error(COUNT, M2), expected, rtol=1e-13)


@pytest.mark.parametrize("kernel", [moments.unbiased_variance, moments.standard_error])
def test_one_image_or_none_has_no_spread(kernel):
    np.testing.assert_array_equal(kernel([0, 1, 2], [0.0, 0.0, 0.0]), [np.nan, np.nan, 0.0])


def test_equal_weight_mean_ignores_how_many_images_a_class_has():
    expected = (RAW[0].mean(axis=0) + RAW[1].mean(axis=0) + RAW[2].mean(axis=0)) / 3
    pooled = np.concatenate(RAW).mean(axis=0)
    result = moments.equal_weight_mean(MEAN)
    np.testing.assert_allclose(result, expected, rtol=1e-13)
    assert not np.allclose(result, pooled)


def test_equal_weight_standard_error_adds_independent_errors():
    errors = [raw.std(axis=0, ddof=1) / len(raw) ** 0.5 for raw in RAW]
    expected = np.sqrt(errors[0] ** 2 + errors[1] ** 2 + errors[2] ** 2) / 3
    np.testing.assert_allclose(moments.equal_weight_standard_error(COUNT, M2), expected, rtol=1e-13)


def test_equal_weight_variance_of_one_class_is_its_variance():
    result = moments.equal_weight_variance(COUNT[:1], MEAN[:, :1], M2[:, :1])
    np.testing.assert_allclose(result, RAW[0].var(axis=0, ddof=1), rtol=1e-13)


def test_equal_weight_variance_is_unbiased_for_the_mixture():
    rng = np.random.default_rng(3)
    centres, spreads, count = np.array([0.0, 1.0, 3.0]), np.array([1.0, 2.0, 0.5]), np.array([2, 3, 5])
    trials = [rng.normal(c, s, (40_000, n)) for c, s, n in zip(centres, spreads, count, strict=True)]
    mean = np.stack([trial.mean(axis=1) for trial in trials], axis=-1)
    m2 = np.stack([trial.var(axis=1) * trial.shape[1] for trial in trials], axis=-1)
    estimates = moments.equal_weight_variance(count, mean, m2)
    truth = (spreads**2 + centres**2).mean() - centres.mean() ** 2
    assert abs(estimates.mean() - truth) < 4 * estimates.std() / len(estimates) ** 0.5


def test_sample_variance_runs_along_the_last_axis():
    np.testing.assert_allclose(moments.sample_variance([[1.0, 2.0, 6.0]]), [7.0])
    np.testing.assert_array_equal(moments.sample_variance([[1.0], [2.0]]), [np.nan, np.nan])
