"""Rank correlation against scipy, and coverage by simulation with known truth."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.stats.rank_correlation import jackknife_draws, partial_rank_correlation, rank_correlation
from tests.analysis.stats.samples import band


def pairs(rng, units, correlation):
    first = rng.normal(size=units)
    return first, correlation * first + np.sqrt(1 - correlation**2) * rng.normal(size=units)


def test_value_is_scipys_with_ties_and_limits_are_the_formula():
    rng = np.random.default_rng(0)
    first, other = (values.round(1) for values in pairs(rng, 20, 0.5))
    found = rank_correlation(first, other)
    expected = stats.spearmanr(first, other).statistic
    assert found.value == pytest.approx(expected)
    reach = stats.t.ppf(0.975, 18) * np.sqrt((1 + expected**2 / 2) / 17)
    centre = np.arctanh(expected)
    assert (found.low, found.high) == pytest.approx((np.tanh(centre - reach), np.tanh(centre + reach)))


def test_errors_of_either_measure_widen_the_interval():
    rng = np.random.default_rng(1)
    first, other = pairs(rng, 12, 0.6)
    plain = rank_correlation(first, other)
    noisy = rank_correlation(first, other, other_draws=other + rng.normal(size=(300, 12)))
    both = rank_correlation(first, other, first + rng.normal(size=(300, 12)), other + rng.normal(size=(300, 12)))
    for wider in (noisy, both):
        assert wider.value == plain.value
        assert wider.low < plain.low < plain.high < wider.high
    exact = rank_correlation(first, other, np.tile(first, (5, 1)), np.tile(other, (5, 1)))
    assert (exact.low, exact.high) == pytest.approx((plain.low, plain.high))


@pytest.mark.parametrize(("units", "correlation"), [(8, 0.0), (8, 0.8), (16, 0.5), (16, 0.8)])
def test_coverage_for_other_units(units, correlation):
    rng = np.random.default_rng(2)
    truth = 6 / np.pi * np.arcsin(correlation / 2)
    runs = 600
    found = [rank_correlation(*pairs(rng, units, correlation)) for _ in range(runs)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert covered >= band(0.93, runs)[0]


def test_jackknife_draws_have_the_covariance_of_means_over_shared_data():
    data = np.random.default_rng(4).multivariate_normal([1, 2], [[1, 0.6], [0.6, 1]], size=40)
    without = (data.sum(axis=0) - data) / 39
    drawn = jackknife_draws(data.mean(axis=0), without, 200_000)
    np.testing.assert_allclose(drawn.mean(axis=0), data.mean(axis=0), atol=0.002)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(data.T) / 40, atol=2e-4)


def test_too_few_units_or_no_variation_have_no_limits():
    few = rank_correlation(np.arange(4.0), np.arange(4.0))
    assert few.value == 1
    assert np.isnan([few.low, few.high]).all()
    still = rank_correlation(np.ones(9), np.arange(9.0))
    assert np.isnan([still.value, still.low, still.high]).all()
    perfect = rank_correlation(np.arange(9.0), np.arange(9.0))
    assert 0 < perfect.low < perfect.high < 1


def test_partial_correlation_is_that_of_residual_ranks():
    rng = np.random.default_rng(3)
    first, other, held = rng.normal(size=(3, 15))
    ranks = [stats.rankdata(values) for values in (first, other, held)]
    rest = [values - np.polyval(np.polyfit(ranks[2], values, 1), ranks[2]) for values in ranks[:2]]
    assert partial_rank_correlation(first, other, held) == pytest.approx(np.corrcoef(*rest)[0, 1])
    assert np.isnan(partial_rank_correlation(first, other, first))
