"""Permutation tests and false-discovery control: exact small cases and rates in simulation."""

from itertools import permutations

import numpy as np
import pytest

from se_probe.analysis.stats.permutation import false_discovery, permutation_test
from tests.analysis.stats.samples import draw


def stacked(groups):
    return np.concatenate(groups), np.repeat(np.arange(len(groups)), [len(group) for group in groups])


def test_p_is_the_share_of_all_orders_that_are_as_extreme():
    values, labels = np.array([0.2, 0.5, 0.35, 0.8, 0.45, 0.9]), np.array([0, 1, 1, 2, 2, 2])

    def between(order):
        return sum(n * (order[labels == k].mean() - values.mean()) ** 2 for k, n in enumerate((1, 2, 3)))

    observed = between(values)
    exact = np.mean([between(np.array(order)) >= observed - 1e-12 for order in permutations(values)])
    found = permutation_test(values[:, None], labels, permutations=5000)
    assert found.channel[0] == pytest.approx(exact, abs=0.025)
    assert found.site == found.channel[0]


def test_null_data_are_rejected_at_the_nominal_rate():
    rejected = permutation_test(*stacked(draw(0, [8, 15, 30], 3000)), permutations=199).channel <= 0.05
    assert rejected.mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 3000))


def test_sites_of_null_data_are_rejected_at_the_nominal_rate():
    scale = (0.1, 1, 10)
    p = [
        permutation_test(*stacked(draw(seed, [5, 9, 16], 6, scale=scale)), permutations=99, seed=seed).site
        for seed in range(300)
    ]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 300))


def test_clear_differences_have_the_smallest_p_there_is():
    groups = [group + place for place, group in enumerate(draw(1, [20, 10, 15], 4))]
    found = permutation_test(*stacked(groups), permutations=99)
    np.testing.assert_array_equal(found.channel, np.full(4, 0.01))
    assert found.site == 0.01


def test_p_does_not_depend_on_unit_or_origin_and_a_dead_channel_has_one():
    values, labels = stacked(draw(2, [7, 12], 5))
    expected = permutation_test(values, labels, permutations=199).channel
    np.testing.assert_array_equal(permutation_test(0.5 + values / 1024, labels, permutations=199).channel, expected)
    assert permutation_test(np.full((9, 1), 0.5), np.repeat([0, 1, 2], 3), permutations=19).channel[0] == 1


def test_adjusted_p_values_by_hand():
    adjusted = false_discovery(np.array([0.01, np.nan, 0.04, 0.03, 0.5]))
    np.testing.assert_allclose(adjusted, [0.04, np.nan, 0.16 / 3, 0.16 / 3, 0.5])
    assert np.isnan(false_discovery(np.array([np.nan]))).all()


def test_the_share_of_false_discoveries_stays_below_its_rate():
    false_share = []
    for seed in range(150):
        values, labels = stacked(draw(seed, [20, 20], 40))
        values[labels == 1, :10] += 1.2
        p = permutation_test(values, labels, permutations=299, seed=seed).channel
        found = false_discovery(p) <= 0.1
        false_share.append(found[10:].sum() / max(found.sum(), 1))
    assert np.mean(false_share) <= 0.1 + 4 * np.std(false_share) / np.sqrt(150)
    assert np.mean(false_share) > 0.03
