"""Kernels of effects against raw images, closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.stats.effects import (
    agreement,
    class_effects,
    effect_size,
    limits_of,
    selectivity_and_size,
    share_of_half,
)
from se_probe.analysis.stats.intervals import class_groups
from tests.analysis.stats.samples import moments

RNG = np.random.default_rng(0)


def test_agreement_is_that_of_a_regression():
    first = RNG.normal(size=200)
    exact = 0.8 * first + RNG.normal(scale=0.1, size=200)
    found, expected = agreement(first, exact), stats.linregress(first, exact)
    assert found.correlation == pytest.approx(expected.rvalue)
    assert found.slope == pytest.approx(expected.slope)
    assert found.rmse == pytest.approx(np.sqrt(np.square(first - exact).mean()))
    assert found.holds


@pytest.mark.parametrize("wrong", ["shuffled", "another sign", "three times too large", "none"])
def test_wrong_effects_do_not_agree(wrong):
    exact = RNG.normal(size=200)
    first = exact + RNG.normal(scale=0.1, size=200)
    assert agreement(first, exact).holds
    made = {
        "shuffled": RNG.permutation(first),
        "another sign": -first,
        "three times too large": 3 * first,
        "none": np.zeros(200),
    }
    assert not agreement(made[wrong], exact).holds


def test_class_effects_are_those_of_students_t():
    raw = [RNG.normal(0.2, 1, (12, 3)), RNG.normal(0, 1, (7, 3))]
    raw[1][:, 2] = 0.5
    low, high, p = class_effects(moments(raw))
    for place, images in enumerate(raw):
        for channel in range(3 - place):
            test = stats.ttest_1samp(images[:, channel], 0)
            assert p[channel, place] == pytest.approx(test.pvalue)
            limits = test.confidence_interval()
            assert (low[channel, place], high[channel, place]) == pytest.approx((limits.low, limits.high))
    assert np.isnan(p[2, 1])
    assert low[2, 1] == high[2, 1] == 0.5


def test_sizes_are_of_images_with_equal_weights_of_classes():
    raw = [RNG.normal(0.2, 1, (12, 3)), RNG.normal(0, 1, (7, 3))]
    expected = np.sqrt(np.mean([np.square(images).mean(axis=0) for images in raw], axis=0))
    np.testing.assert_allclose(effect_size(moments(raw)), expected)


@pytest.mark.parametrize(
    ("sizes", "share"),
    [([1, 1, 1, 1], 0.5), ([8, 1, 1, 1], 0.25), ([3, 3, 1, 1, 0, 0, 0, 0], 0.25), ([2, 1, 1], 1 / 3)],
)
def test_share_of_half(sizes, share):
    assert share_of_half(np.array(sizes, dtype=float)) == share


def test_without_effects_nothing_carries_half():
    assert np.isnan(share_of_half(np.zeros(3)))


def network(seed, classes=20, images=15, channels=60, *, by_selectivity=0.0):
    """Gates and effects of classes: effects are in proportion to the gate's deviation, times a gradient a channel."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    spread, selective = fixed.uniform(0.02, 0.3, channels), fixed.uniform(0, 1, channels)
    gradient = np.exp(by_selectivity * selective)
    shared = rng.normal(size=(classes, 4)) @ fixed.normal(size=(4, channels)) / 2  # Channels move together.
    between = np.sqrt(selective) * spread * shared
    within = np.sqrt(1 - selective) * spread
    gates = [between[place] + within * rng.normal(size=(images, channels)) for place in range(classes)]
    return gates, [gradient * -gate for gate in gates]


def correlate(gates, effects):
    return selectivity_and_size(moments(gates), moments(effects), class_groups(len(gates)))


def test_the_correlation_is_spearmans_of_shares_and_sizes():
    gates, effects = network(0)
    found = correlate(gates, effects)
    everything = np.array([np.stack(gates)[..., channel] for channel in range(60)])
    within = everything.var(axis=2, ddof=1).mean(axis=1)
    between = everything.mean(axis=2).var(axis=1) - 19 / 20 * within / 15
    share = between / (between + within)
    sizes = np.sqrt(np.mean([np.square(images).mean(axis=0) for images in effects], axis=0))
    assert found.plain.value == pytest.approx(stats.spearmanr(share, sizes).statistic)
    ranks = [stats.rankdata(values) for values in (share, sizes, np.sqrt(between + within))]
    rest = [values - np.polyval(np.polyfit(ranks[2], values, 1), ranks[2]) for values in ranks[:2]]
    assert found.partial.value == pytest.approx(np.corrcoef(*rest)[0, 1])


def test_spread_alone_is_no_selectivity():
    found = correlate(*network(1))
    assert abs(found.partial.value) < 0.3 < correlate(*network(1, by_selectivity=2)).partial.value


def test_the_interval_has_the_size_of_the_draw_of_classes():
    found = [correlate(*network(seed)) for seed in range(30)]
    drawn = np.std(np.arctanh([one.plain.value for one in found]), ddof=1)
    claimed = np.median([np.std(np.arctanh(one.draws[0])) for one in found])
    assert 0.6 < claimed / drawn < 1.8
    one = found[0]
    assert one.plain.low < one.plain.value < one.plain.high
    assert limits_of(one.plain.value, one.draws[0], 20) == one.plain


def test_few_classes_have_no_interval():
    gates, effects = network(0, classes=4)
    found = correlate(gates, effects)
    assert np.isfinite(found.plain.value)
    assert np.isnan([found.plain.low, found.partial.high]).all()
