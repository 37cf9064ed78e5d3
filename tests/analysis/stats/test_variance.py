"""Variance components against textbook formulas, scipy and simulation with known truth."""

import numpy as np
import pytest

from se_probe.analysis.stats.variance import Components, components, omega_squared
from tests.analysis.stats.samples import draw, moments


def hays(groups):
    """ω² as in textbooks, from sums of squares."""
    everything, means = np.concatenate(groups), [group.mean(axis=0) for group in groups]
    between = sum(len(g) * (m - everything.mean(axis=0)) ** 2 for g, m in zip(groups, means, strict=True))
    within = sum(((g - m) ** 2).sum(axis=0) for g, m in zip(groups, means, strict=True))
    mean_within = within / (len(everything) - len(groups))
    return (between - (len(groups) - 1) * mean_within) / (between + within + mean_within)


def test_equal_counts_give_hays_omega_squared():
    groups = draw(0, [12] * 5, 30, share=0.3)
    np.testing.assert_allclose(omega_squared(components(*moments(groups))), hays(groups), rtol=1e-10, atol=1e-12)


def test_components_are_unbiased_for_unequal_counts_and_variances():
    means, deviations, counts = np.array([0.0, 0.4, 1.0, -0.2]), np.array([0.5, 1.0, 2.0, 0.7]), [3, 5, 20, 60]
    rng = np.random.default_rng(1)
    replicates = 4000
    groups = [m + s * rng.normal(size=(n, replicates)) for m, s, n in zip(means, deviations, counts, strict=True)]
    found = components(*moments(groups))
    for estimate, truth in ((found.between, means.var()), (found.within, np.mean(deviations**2))):
        assert abs(estimate.mean() - truth) < 4 * estimate.std() / np.sqrt(replicates)


def test_share_of_noise_is_centred_on_zero_where_eta_squared_is_not():
    groups = draw(2, [6, 10, 14], 4000)
    omega = omega_squared(components(*moments(groups)))
    count, mean, m2 = moments(groups)
    grand = (count * mean).sum(axis=-1) / count.sum()
    between = (count * (mean - grand[:, None]) ** 2).sum(axis=-1)
    assert abs(omega.mean()) < 0.004
    assert np.mean(between / (between + m2.sum(axis=-1))) == pytest.approx(2 / 29, abs=0.005)


def test_share_does_not_depend_on_unit_origin_or_order_of_classes():
    groups = draw(3, [4, 9, 30], 20, share=0.2)
    expected = omega_squared(components(*moments(groups)))
    changed = [0.5 + 1e-3 * group for group in (groups[2], groups[0], groups[1])]
    np.testing.assert_allclose(omega_squared(components(*moments(changed))), expected, rtol=1e-9)


def test_pooled_share_is_a_ratio_of_sums():
    loud, dead = draw(4, [20] * 4, 3, share=0.5), draw(5, [20] * 4, 3, share=0.0)
    both = [np.hstack([a, 1e-4 * b]) for a, b in zip(loud, dead, strict=True)]
    alone, together = (omega_squared(components(*moments(groups)).pooled()) for groups in (loud, both))
    assert together == pytest.approx(alone, rel=1e-6)


def test_nothing_to_share_is_nan():
    constant = [np.full((3, 2), 0.5), np.full((4, 2), 0.5)]
    assert np.isnan(omega_squared(components(*moments(constant)))).all()
    assert np.isnan(omega_squared(components(*moments([np.eye(3)])))).all()
    assert np.isnan(omega_squared(components(*moments([np.eye(3), np.ones((1, 3))])))).all()
    assert omega_squared(Components(np.array([1.0]), np.array([0.0]))) == [1.0]
