"""Intervals against plain recomputation, scipy, and simulation with known truth."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.stats.intervals import (
    class_groups,
    jackknife_error,
    jackknife_limits,
    omega_squared_over_classes,
    omega_squared_over_images,
    pooled_components_without,
)
from se_probe.analysis.stats.moments import Moments, components, omega_squared
from tests.analysis.stats.samples import band, draw, moments

RUNS = 200


def test_jackknife_error_of_a_mean_is_the_standard_error():
    values = np.random.default_rng(0).normal(size=17)
    without = (values.sum() - values) / 16
    assert jackknife_error(without) == pytest.approx(stats.sem(values), rel=1e-12)


def test_limits_of_a_channel_are_those_of_its_chi_squared():
    groups = draw(1, [4, 9, 6, 12, 5, 8], 3, share=0.3)
    of_classes = moments(groups)
    count, mean, m2 = of_classes.count, of_classes.mean, of_classes.m2
    found = omega_squared_over_classes(of_classes)
    for column in range(3):
        own = mean[column]
        spread, noise = own.var(ddof=1), np.mean(m2[column] / (count - 1) / count)
        within = np.mean(m2[column] / (count - 1))
        without = np.array([np.delete(own, k).var(ddof=1) for k in range(6)])
        degrees = min(5, 2 * spread**2 / jackknife_error(without) ** 2) * 6 / 10
        for limit, tail in ((found.low, 0.975), (found.high, 0.025)):
            between = 5 / 6 * (spread * degrees / stats.chi2.ppf(tail, degrees) - noise)
            assert limit[column] == pytest.approx(between / (between + within), rel=1e-9)


def test_degrees_of_normal_classes_count_the_directions_in_which_they_differ():
    rng = np.random.default_rng(2)
    one = np.outer(rng.normal(size=300), rng.normal(size=20))
    many = rng.normal(size=(300, 20))
    count, m2 = np.full(20, 1000), np.full((300, 20), 1e-6)
    narrow, wide = (omega_squared_over_classes(Moments(count, mean, m2), pool=True) for mean in (many, one))
    assert np.log((1 - narrow.low) / (1 - narrow.high)) < 0.35 * np.log((1 - wide.low) / (1 - wide.high))


@pytest.mark.parametrize("classes", [5, 10])
@pytest.mark.parametrize("columns", [1, 30])
def test_intervals_over_few_classes_hold_what_they_claim(classes, columns):
    truth = (share := 0.2 / 0.8 * (classes - 1) / classes) / (share + 1)
    found = [
        omega_squared_over_classes(moments(draw(seed, [20] * classes, columns, share=0.2)), pool=True)
        for seed in range(2 * RUNS)
    ]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert covered >= band(0.93, 2 * RUNS)[0]


def test_intervals_over_skewed_classes_cover_nine_in_ten():
    rng, classes, hits = np.random.default_rng(5), 8, 0
    truth = (share := 0.25 * (classes - 1) / classes) / (share + 1)
    for _ in range(2 * RUNS):
        means = 0.5 * (rng.exponential(size=(classes, 20)) - 1)
        found = omega_squared_over_classes(moments([mean + rng.normal(size=(20, 20)) for mean in means]), pool=True)
        hits += bool(found.low <= truth <= found.high)
    assert hits / (2 * RUNS) >= 0.9


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_a_known_share_lies_within_its_interval_over_classes_at_the_nominal_rate(share):
    counts = [10, 30] * 12
    between = share / (1 - share) * (len(counts) - 1) / len(counts)
    truth = between / (between + 1)
    hits, estimates = 0, []
    for seed in range(RUNS):
        found = omega_squared_over_classes(moments(draw(seed, counts, 30, share=share, scale=(0.5, 1, 1.5))), pool=True)
        hits += bool(found.low <= truth <= found.high)
        estimates.append(found.estimate)
    low, high = band(0.93, RUNS)[0], band(0.985, RUNS)[1]
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
    low, high = band(0.92, RUNS)[0], band(0.97, RUNS)[1]
    assert low <= hits / RUNS <= high


@pytest.mark.parametrize(("classes", "images", "effect"), [(2, 50, 0.3), (2, 50, 0.5), (3, 20, 0.5)])
def test_over_images_a_share_of_few_directions_lies_within_its_interval(classes, images, effect):
    means = effect * np.linspace(-0.5, 0.5, classes)
    truth = means.var() / (means.var() + 1)
    rng, hits = np.random.default_rng(0), 0
    for seed in range(RUNS):
        groups = [mean + rng.normal(size=(images, 1)) for mean in means]
        found = omega_squared_over_images(groups, resamples=199, seed=seed)
        hits += bool(found.low <= truth <= found.high)
    assert hits / RUNS >= band(0.92, RUNS)[0]


def test_limits_over_images_are_those_of_redrawing_them_one_resample_at_a_time():
    groups = draw(7, [3, 4, 5], 2, share=0.5)

    def log_ratio(chosen, corrected=True):
        parts = components(moments(chosen)).pooled()
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
    assert found.low == pytest.approx(1 - np.exp(-np.quantile(deviations, 0.025) - log_ratio(groups)), rel=1e-9)
    assert found.high == pytest.approx(1 - np.exp(-np.quantile(deviations, 0.975) - log_ratio(groups)), rel=1e-9)


def test_over_images_the_interval_of_null_data_holds_zero():
    hits = 0
    for seed in range(RUNS):
        found = omega_squared_over_images(draw(seed, [15, 30, 20], 5), resamples=199, seed=seed)
        hits += bool(found.low <= 0 <= found.high)
    assert hits / RUNS >= band(0.95, RUNS)[0]


def test_intervals_do_not_depend_on_the_unit_of_the_gate():
    groups = draw(2, [20, 30, 10, 15, 12], 4, share=0.3)
    tiny = [0.5 + 1e-4 * group for group in groups]
    for one, other in (
        (omega_squared_over_images(groups, seed=3), omega_squared_over_images(tiny, seed=3)),
        (omega_squared_over_classes(moments(groups)), omega_squared_over_classes(moments(tiny))),
    ):
        np.testing.assert_allclose(one.low, other.low, rtol=1e-7)
        np.testing.assert_allclose(one.high, other.high, rtol=1e-7)


def test_estimates_over_images_and_over_classes_agree():
    groups = draw(3, [20, 30, 10, 15, 12], 4, share=0.3)
    over_images = omega_squared_over_images(groups, resamples=9).estimate
    assert over_images == pytest.approx(omega_squared_over_classes(moments(groups), pool=True).estimate, rel=1e-10)


def test_too_little_data_has_no_limits():
    few = omega_squared_over_classes(moments(draw(4, [9] * 4, 3, share=0.2)))
    assert np.isfinite(few.estimate).all()
    assert np.isnan([few.low, few.high]).all()
    for groups in ([np.full((5, 2), 0.5)] * 3, [np.eye(3), np.ones((1, 3))]):
        found = omega_squared_over_images(groups, resamples=9)
        assert np.isnan([found.estimate, found.low, found.high]).all()


@pytest.mark.parametrize(("classes", "most"), [(6, 50), (23, 4)])
def test_components_without_a_group_are_those_of_the_classes_left(classes, most):
    whole = moments(draw(0, np.random.default_rng(0).integers(3, 9, classes), 5, share=0.6))
    groups = class_groups(classes, most=most)
    found = pooled_components_without(whole, groups)
    for group in range(groups.max() + 1):
        expected = components(whole.of_classes(np.flatnonzero(groups != group))).pooled()
        assert found.between[group] == pytest.approx(float(expected.between), rel=1e-9)
        assert found.within[group] == pytest.approx(float(expected.within), rel=1e-9)


def test_few_classes_have_a_group_each_and_many_share_groups_of_even_size():
    assert class_groups(7).tolist() == list(range(7))
    sizes = np.bincount(class_groups(1003))
    assert len(sizes) == 50
    assert set(sizes) == {20, 21}
    assert (class_groups(1003) == class_groups(1003)).all()


def test_limits_of_a_mean_are_those_of_the_t_test():
    values = np.random.default_rng(1).normal(size=12)
    without = (values.sum() - values) / 11
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert jackknife_limits(values.mean(), without, np.arange(12)) == pytest.approx(tuple(expected))


def test_limits_from_uneven_groups_cover_at_the_nominal_rate():
    rng, covered = np.random.default_rng(2), 0
    for run in range(400):
        values = rng.normal(3.0, 1.0, 70)
        groups = class_groups(70, most=20, seed=run)
        without = np.array([values[groups != group].mean() for group in range(20)])
        low, high = jackknife_limits(values.mean(), without, groups)
        covered += low < 3.0 < high
    assert 0.92 < covered / 400 < 0.98
