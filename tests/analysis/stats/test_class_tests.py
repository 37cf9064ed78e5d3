"""Tests of class means: hand computations, exact cases, and levels on unequal, skewed classes."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.stats.class_tests import anova_type_test, bootstrap_test, false_discovery
from tests.analysis.stats.samples import band, draw, moments


def skewed(seed, counts, columns):
    """Gates of classes with one mean: lognormal about it, with spreads that differ between classes by up to 8."""
    rng = np.random.default_rng(seed)
    spreads = rng.choice([0.25, 0.5, 1.0, 2.0], size=(len(counts), columns))
    centre = np.exp(0.125)
    return [s * (rng.lognormal(0, 0.5, (n, columns)) - centre) for s, n in zip(spreads, counts, strict=True)]


def test_with_equal_counts_the_statistic_is_fishers_f():
    groups = draw(6, [9] * 12, 25, share=0.1)
    f, p = anova_type_test(moments(groups))
    expected = stats.f_oneway(*groups)
    np.testing.assert_allclose(f, expected.statistic, rtol=1e-10)
    # The degrees of freedom are estimated and few, so that p is a little larger in the tail.
    assert np.corrcoef(np.log(p), np.log(expected.pvalue))[0, 1] > 0.98


def test_degrees_of_freedom_are_those_of_the_matrix_form():
    groups = skewed(1, [12, 9, 15, 12, 7, 20, 8, 14, 11, 10], 80)
    found = moments(groups)
    count, mean, m2 = found.count, found.mean, found.m2
    f, p = anova_type_test(found)
    centring, judged = np.eye(10) - 1 / 10, 0
    for column in range(80):
        noise = np.diag(m2[column] / (count - 1) / count)
        trace = np.trace(centring @ noise)
        over = trace**2 / np.trace(centring @ noise @ centring @ noise)
        under = trace**2 / np.trace(np.diag(np.diag(centring)) ** 2 @ noise**2 @ np.diag(1 / (count - 1)))
        assert f[column] == pytest.approx(mean[column] @ centring @ mean[column] / trace, rel=1e-10)
        expected = stats.f.sf(f[column], over, under) if over >= 5 else np.nan
        assert p[column] == pytest.approx(expected, rel=1e-9, nan_ok=True)
        judged += over >= 5
    assert 0 < judged < 80


@pytest.mark.parametrize("counts", [[50] * 4 + [5] * 46, [8] * 30, [10, 40] * 10])
def test_unequal_spreads_and_counts_are_rejected_at_the_nominal_rate(counts):
    p = np.concatenate([anova_type_test(moments(skewed(seed, counts, 100)))[1] for seed in range(12)])
    judged = np.isfinite(p)
    assert judged.mean() > 0.5
    assert np.mean(p[judged] <= 0.05) <= band(0.06, judged.sum())[1]


def test_few_classes_and_noise_of_one_class_are_not_judged():
    f, p = anova_type_test(moments(draw(0, [50] * 5, 3)))
    assert np.isfinite(f).all()
    assert np.isnan(p).all()
    groups = draw(1, [20] * 12, 1)
    groups[0] *= 50
    assert np.isnan(anova_type_test(moments(groups))[1]).all()


def test_dead_channels_and_single_images_and_classes_have_no_statistic():
    for groups in ([np.full((3, 2), 0.5)] * 8, [np.eye(2)], [np.ones((1, 2)), *[np.eye(2)] * 7]):
        f, p = anova_type_test(moments(groups))
        assert np.isnan(f).all()
        assert np.isnan(p).all()


def test_bootstrap_p_is_the_share_of_resamples_that_are_as_extreme():
    groups = draw(3, [30, 25, 40], 2, share=0.05)
    found = bootstrap_test(groups, resamples=150, seed=5)
    rng = np.random.default_rng(5)
    draws = [rng.multinomial(len(g), np.full(len(g), 1 / len(g)), size=150) for g in groups]

    def ratio(chosen):
        means = np.stack([g.mean(axis=0) for g in chosen])
        return ((means - means.mean(axis=0)) ** 2).sum(axis=0), sum(g.var(axis=0, ddof=1) / len(g) for g in chosen)

    spread, noise = ratio(groups)
    extreme, together = np.zeros(2), 0
    for row in range(150):
        chosen = [np.repeat(g - g.mean(axis=0), d[row], axis=0) for g, d in zip(groups, draws, strict=True)]
        of_spread, of_noise = ratio(chosen)
        extreme += of_spread / of_noise >= spread / noise
        together += of_spread.sum() / of_noise.sum() >= spread.sum() / noise.sum()
    np.testing.assert_allclose(found.channel, (1 + extreme) / 151)
    assert found.site == pytest.approx((1 + together) / 151)


@pytest.mark.parametrize("counts", [[50] * 4, [50, 30, 40]])
def test_channels_of_skewed_classes_with_one_mean_are_rejected_at_the_nominal_rate(counts):
    p = bootstrap_test(skewed(2, counts, 3000), resamples=199).channel
    judged = np.isfinite(p)
    assert judged.mean() > 0.2
    assert np.mean(p[judged] <= 0.05) <= band(0.06, judged.sum())[1]


def test_sites_of_skewed_unequal_classes_are_rejected_at_the_nominal_rate():
    p = [bootstrap_test(skewed(seed, [50, 20, 10, 5], 20), resamples=99, seed=seed).site for seed in range(250)]
    assert np.mean(np.array(p) <= 0.05) <= band(0.05, 250)[1]


def test_clear_differences_have_the_smallest_p_there_is():
    groups = [group + place for place, group in enumerate(draw(1, [20, 40, 25], 4))]
    found = bootstrap_test(groups, resamples=99)
    np.testing.assert_array_equal(found.channel, np.full(4, 0.01))
    assert found.site == 0.01


def test_p_does_not_depend_on_unit_or_origin():
    groups = draw(2, [24, 32], 5)
    expected = bootstrap_test(groups, resamples=199).channel
    moved = bootstrap_test([0.5 + group / 1024 for group in groups], resamples=199).channel
    np.testing.assert_array_equal(moved, expected)


def test_one_chosen_class_a_single_image_and_dead_channels_have_no_p():
    for groups in (draw(0, [50], 3), draw(0, [50, 1], 3), [np.full((9, 3), 0.5)] * 3):
        found = bootstrap_test(groups, resamples=9)
        assert np.isnan(found.channel).all()
        assert np.isnan(found.site)


def test_channels_are_not_judged_where_few_images_carry_the_noise_or_counts_are_uneven():
    rare = [np.zeros((50, 1)) for _ in range(3)]
    for group in rare:
        group[:2] = 0.9
    assert np.isnan(bootstrap_test(rare, resamples=9).channel).all()
    uneven = bootstrap_test(draw(4, [50, 20, 50], 3), resamples=9)
    assert np.isnan(uneven.channel).all()
    assert np.isfinite(uneven.site)


def test_adjusted_p_values_by_hand():
    adjusted = false_discovery(np.array([0.01, np.nan, 0.04, 0.03, 0.5]))
    np.testing.assert_allclose(adjusted, [0.04, np.nan, 0.16 / 3, 0.16 / 3, 0.5])
    assert np.isnan(false_discovery(np.array([np.nan]))).all()


def test_the_share_of_false_discoveries_stays_below_its_rate():
    false_share = []
    for seed in range(150):
        groups = draw(seed, [20, 20], 40)
        groups[1][:, :10] += 1.2
        found = false_discovery(bootstrap_test(groups, resamples=299, seed=seed).channel) <= 0.1
        false_share.append(found[10:].sum() / max(found.sum(), 1))
    assert np.mean(false_share) <= 0.1 + 4 * np.std(false_share) / np.sqrt(150)
    assert np.mean(false_share) > 0.03
