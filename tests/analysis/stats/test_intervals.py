"""Intervals against plain recomputation, scipy, and simulation with known truth."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.stats.intervals import (
    jackknife_error,
    mean_interval,
    omega_squared_over_classes,
    omega_squared_over_images,
)
from se_probe.analysis.stats.variance import components, omega_squared
from tests.analysis.stats.samples import draw, moments

RUNS = 200


def coverage_band(rate):
    """Shares of `RUNS` that a method with a true coverage of `rate` stays within."""
    return stats.binom.ppf((0.001, 0.999), RUNS, rate) / RUNS


def test_jackknife_error_of_a_mean_is_the_standard_error():
    values = np.random.default_rng(0).normal(size=17)
    without = (values.sum() - values) / 16
    assert jackknife_error(without) == pytest.approx(stats.sem(values), rel=1e-12)


@pytest.mark.parametrize("pool", [False, True])
def test_limits_are_those_of_leaving_out_each_class(pool):
    groups = draw(1, [4, 9, 6, 12, 5, 8], 3, share=0.3)

    def log_ratio(chosen):
        parts = components(*moments(chosen))
        return -np.log(1 - omega_squared(parts.pooled() if pool else parts))

    without = np.stack([log_ratio(groups[:k] + groups[k + 1 :]) for k in range(6)], axis=-1)
    error = np.sqrt(5 / 6 * np.sum((without - without.mean(axis=-1, keepdims=True)) ** 2, axis=-1))
    low = 1 - np.exp(-(log_ratio(groups) - stats.t.ppf(0.975, 5) * error))
    high = 1 - np.exp(-(log_ratio(groups) + stats.t.ppf(0.975, 5) * error))
    found = omega_squared_over_classes(*moments(groups), pool=pool)
    np.testing.assert_allclose(found.low, low, rtol=1e-9)
    np.testing.assert_allclose(found.high, high, rtol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_a_known_share_lies_within_its_interval_over_classes_at_the_nominal_rate(share):
    counts = [10, 30] * 12
    between = share / (1 - share) * (len(counts) - 1) / len(counts)
    truth = between / (between + 1)
    hits, estimates = 0, []
    for seed in range(RUNS):
        found = omega_squared_over_classes(
            *moments(draw(seed, counts, 30, share=share, scale=(0.5, 1, 1.5))), pool=True
        )
        hits += bool(found.low <= truth <= found.high)
        estimates.append(found.estimate)
    low, high = coverage_band(0.93)[0], coverage_band(0.97)[1]
    assert low <= hits / RUNS <= high
    assert np.mean(estimates) == pytest.approx(truth, abs=4 * np.std(estimates) / np.sqrt(RUNS) + 0.002)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_known_share_lies_within_its_interval_over_images_at_the_nominal_rate(share):
    counts, scale = [40, 20, 60, 30], np.resize((0.5, 1, 1.5), 6)
    rng = np.random.default_rng(0)
    means = rng.normal(size=(4, 6)) * np.sqrt(share / (1 - share)) * scale
    truth = means.var(axis=0).sum() / (means.var(axis=0).sum() + np.sum(scale**2))
    hits = 0
    for seed in range(RUNS):
        noise = draw(seed, counts, 6, scale=scale)
        found = omega_squared_over_images([m + n for m, n in zip(means, noise, strict=True)], resamples=299, seed=seed)
        hits += bool(found.low <= truth <= found.high)
    low, high = coverage_band(0.92)[0], coverage_band(0.97)[1]
    assert low <= hits / RUNS <= high


def test_limits_over_images_are_those_of_redrawing_them_one_resample_at_a_time():
    groups = draw(7, [3, 4, 5], 2, share=0.5)

    def log_ratio(chosen, corrected=True):
        parts = components(*moments(chosen)).pooled()
        if corrected:
            return -np.log(1 - omega_squared(parts))
        between = np.var([group.mean(axis=0) for group in chosen], axis=0).sum()
        return np.log1p(between / np.mean([group.var(axis=0).sum() for group in chosen]))

    rng = np.random.default_rng(8)
    draws = [rng.multinomial(len(group), np.full(len(group), 1 / len(group)), size=60) for group in groups]
    redrawn = [
        log_ratio([np.repeat(group, times[row], axis=0) for group, times in zip(groups, draws, strict=True)])
        for row in range(60)
    ]
    deviations = np.array(redrawn) - log_ratio(groups, corrected=False)
    found = omega_squared_over_images(groups, resamples=60, seed=8)
    assert found.low == pytest.approx(1 - np.exp(np.quantile(deviations, 0.975) - log_ratio(groups)), rel=1e-9)
    assert found.high == pytest.approx(1 - np.exp(np.quantile(deviations, 0.025) - log_ratio(groups)), rel=1e-9)


def test_over_images_the_interval_of_null_data_holds_zero():
    hits = 0
    for seed in range(RUNS):
        found = omega_squared_over_images(draw(seed, [15, 30, 20], 5), resamples=199, seed=seed)
        hits += bool(found.low <= 0 <= found.high)
    assert hits / RUNS >= coverage_band(0.95)[0]


def test_intervals_do_not_depend_on_the_unit_of_the_gate():
    groups = draw(2, [20, 30, 10, 15, 12], 4, share=0.3)
    tiny = [0.5 + 1e-4 * group for group in groups]
    for one, other in (
        (omega_squared_over_images(groups, seed=3), omega_squared_over_images(tiny, seed=3)),
        (omega_squared_over_classes(*moments(groups)), omega_squared_over_classes(*moments(tiny))),
    ):
        np.testing.assert_allclose(one.low, other.low, rtol=1e-7)
        np.testing.assert_allclose(one.high, other.high, rtol=1e-7)


def test_estimates_over_images_and_over_classes_agree():
    groups = draw(3, [20, 30, 10, 15, 12], 4, share=0.3)
    over_images = omega_squared_over_images(groups, resamples=9).estimate
    assert over_images == pytest.approx(omega_squared_over_classes(*moments(groups), pool=True).estimate, rel=1e-10)


def test_too_little_data_has_no_limits():
    few = omega_squared_over_classes(*moments(draw(4, [9] * 4, 3, share=0.2)))
    assert np.isfinite(few.estimate).all()
    assert np.isnan([few.low, few.high]).all()
    for groups in ([np.full((5, 2), 0.5)] * 3, [np.eye(3), np.ones((1, 3))]):
        found = omega_squared_over_images(groups, resamples=9)
        assert np.isnan([found.estimate, found.low, found.high]).all()


def test_bootstrap_limits_of_a_mean_are_scipys():
    values = np.random.default_rng(5).beta(0.4, 2, size=(40, 1))
    found = mean_interval(values, resamples=20_000)
    expected = stats.bootstrap(
        (values[:, 0],), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    error = values.std() / np.sqrt(40)
    assert found.estimate[0] == pytest.approx(values.mean(), rel=1e-12)
    assert found.low[0] == pytest.approx(expected.low, abs=0.05 * error)
    assert found.high[0] == pytest.approx(expected.high, abs=0.05 * error)


def test_the_mean_of_skewed_gates_lies_within_its_limits_at_the_nominal_rate():
    columns = 1500
    values = np.random.default_rng(6).beta(0.5, 1.5, size=(50, columns))
    found = mean_interval(values)
    covered = np.mean((found.low <= 0.25) & (found.high >= 0.25))
    assert 0.925 <= covered <= 0.965
    assert np.all(found.low >= values.min(axis=0))
    assert np.all(found.high <= values.max(axis=0))


def test_a_constant_gate_has_itself_as_limits_and_a_single_image_none():
    constant = mean_interval(np.full((8, 2), 0.25), resamples=99)
    np.testing.assert_array_equal([constant.low, constant.high], np.full((2, 2), 0.25))
    single = mean_interval(np.array([[0.3, 0.6]]))
    assert np.isnan([single.low, single.high]).all()
