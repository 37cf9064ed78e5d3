"""The kernels against numpy on raw float64 data, and an unbiasedness check by simulation."""

import numpy as np
import pytest

from se_probe.analysis.stats import moments
from se_probe.analysis.stats.moments import Components, Moments, components, omega_squared
from tests.analysis.stats.samples import draw
from tests.analysis.stats.samples import moments as class_moments

RAW = [np.random.default_rng(k).normal(k, 1 + k, size=(n, 5)) for k, n in enumerate((4, 7, 12))]
MOMENTS = class_moments(RAW)


def test_variance_is_that_of_the_images():
    expected = np.stack([raw.var(axis=0, ddof=1) for raw in RAW], axis=-1)
    np.testing.assert_allclose(moments.unbiased_variance(MOMENTS.count, MOMENTS.m2), expected, rtol=1e-13)


def test_standard_error_is_deviation_over_root_of_count():
    expected = np.stack([raw.std(axis=0, ddof=1) / len(raw) ** 0.5 for raw in RAW], axis=-1)
    np.testing.assert_allclose(moments.standard_error(MOMENTS.count, MOMENTS.m2), expected, rtol=1e-13)


@pytest.mark.parametrize("kernel", [moments.unbiased_variance, moments.standard_error])
def test_one_image_or_none_has_no_spread(kernel):
    np.testing.assert_array_equal(kernel([0, 1, 2], [0.0, 0.0, 0.0]), [np.nan, np.nan, 0.0])


def test_equal_weight_mean_ignores_how_many_images_a_class_has():
    expected = (RAW[0].mean(axis=0) + RAW[1].mean(axis=0) + RAW[2].mean(axis=0)) / 3
    pooled = np.concatenate(RAW).mean(axis=0)
    result = moments.equal_weight_mean(MOMENTS.mean)
    np.testing.assert_allclose(result, expected, rtol=1e-13)
    assert not np.allclose(result, pooled)


def test_equal_weight_standard_error_adds_independent_errors():
    errors = [raw.std(axis=0, ddof=1) / len(raw) ** 0.5 for raw in RAW]
    expected = np.sqrt(errors[0] ** 2 + errors[1] ** 2 + errors[2] ** 2) / 3
    np.testing.assert_allclose(moments.equal_weight_standard_error(MOMENTS.count, MOMENTS.m2), expected, rtol=1e-13)


def test_equal_weight_variance_of_one_class_is_its_variance():
    result = moments.equal_weight_variance(MOMENTS.of_classes(np.array([0])))
    np.testing.assert_allclose(result, RAW[0].var(axis=0, ddof=1), rtol=1e-13)


def test_equal_weight_variance_is_unbiased_for_the_mixture():
    rng = np.random.default_rng(3)
    centres, spreads, count = np.array([0.0, 1.0, 3.0]), np.array([1.0, 2.0, 0.5]), np.array([2, 3, 5])
    trials = [rng.normal(c, s, (40_000, n)) for c, s, n in zip(centres, spreads, count, strict=True)]
    mean = np.stack([trial.mean(axis=1) for trial in trials], axis=-1)
    m2 = np.stack([trial.var(axis=1) * trial.shape[1] for trial in trials], axis=-1)
    estimates = moments.equal_weight_variance(Moments(count, mean, m2))
    truth = (spreads**2 + centres**2).mean() - centres.mean() ** 2
    assert abs(estimates.mean() - truth) < 4 * estimates.std() / len(estimates) ** 0.5


def test_sample_variance_runs_along_the_last_axis():
    np.testing.assert_allclose(moments.sample_variance([[1.0, 2.0, 6.0]]), [7.0])
    np.testing.assert_array_equal(moments.sample_variance([[1.0], [2.0]]), [np.nan, np.nan])


def hays(groups):
    """ω² as in textbooks, from sums of squares."""
    everything, means = np.concatenate(groups), [group.mean(axis=0) for group in groups]
    between = sum(len(g) * (m - everything.mean(axis=0)) ** 2 for g, m in zip(groups, means, strict=True))
    within = sum(((g - m) ** 2).sum(axis=0) for g, m in zip(groups, means, strict=True))
    mean_within = within / (len(everything) - len(groups))
    return (between - (len(groups) - 1) * mean_within) / (between + within + mean_within)


def test_equal_counts_give_hays_omega_squared():
    groups = draw(0, [12] * 5, 30, share=0.3)
    np.testing.assert_allclose(omega_squared(components(class_moments(groups))), hays(groups), rtol=1e-10, atol=1e-12)


def test_components_are_unbiased_for_unequal_counts_and_variances():
    means, deviations, counts = np.array([0.0, 0.4, 1.0, -0.2]), np.array([0.5, 1.0, 2.0, 0.7]), [3, 5, 20, 60]
    rng = np.random.default_rng(1)
    replicates = 4000
    groups = [m + s * rng.normal(size=(n, replicates)) for m, s, n in zip(means, deviations, counts, strict=True)]
    found = components(class_moments(groups))
    for estimate, truth in ((found.between, means.var()), (found.within, np.mean(deviations**2))):
        assert abs(estimate.mean() - truth) < 4 * estimate.std() / np.sqrt(replicates)


def test_share_of_noise_is_centred_on_zero_where_eta_squared_is_not():
    groups = draw(2, [6, 10, 14], 4000)
    made = class_moments(groups)
    omega, count, mean, m2 = omega_squared(components(made)), made.count, made.mean, made.m2
    grand = (count * mean).sum(axis=-1) / count.sum()
    between = (count * (mean - grand[:, None]) ** 2).sum(axis=-1)
    assert abs(omega.mean()) < 0.004
    assert np.mean(between / (between + m2.sum(axis=-1))) == pytest.approx(2 / 29, abs=0.005)


def test_share_does_not_depend_on_unit_origin_or_order_of_classes():
    groups = draw(3, [4, 9, 30], 20, share=0.2)
    expected = omega_squared(components(class_moments(groups)))
    changed = [0.5 + 1e-3 * group for group in (groups[2], groups[0], groups[1])]
    np.testing.assert_allclose(omega_squared(components(class_moments(changed))), expected, rtol=1e-9)


def test_pooled_share_is_a_ratio_of_sums():
    loud, dead = draw(4, [20] * 4, 3, share=0.5), draw(5, [20] * 4, 3, share=0.0)
    both = [np.hstack([a, 1e-4 * b]) for a, b in zip(loud, dead, strict=True)]
    alone, together = (omega_squared(components(class_moments(groups)).pooled()) for groups in (loud, both))
    assert together == pytest.approx(alone, rel=1e-6)


def test_nothing_to_share_is_nan():
    constant = [np.full((3, 2), 0.5), np.full((4, 2), 0.5)]
    assert np.isnan(omega_squared(components(class_moments(constant)))).all()
    assert np.isnan(omega_squared(components(class_moments([np.eye(3)])))).all()
    assert np.isnan(omega_squared(components(class_moments([np.eye(3), np.ones((1, 3))])))).all()
    assert omega_squared(Components(np.array([1.0]), np.array([0.0]))) == [1.0]
