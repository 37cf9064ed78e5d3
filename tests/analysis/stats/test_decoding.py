"""Decoding against folds that are fitted and counted by hand, and on data whose answer is known."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold

from se_probe.analysis.stats.decoding import PENALTY, decode
from tests.analysis.stats.samples import band, draw


def stacked(groups):
    return np.concatenate(groups), np.repeat(np.arange(len(groups)), [len(group) for group in groups])


def test_folds_are_standardised_fitted_and_counted_apart():
    gates, labels = stacked(draw(0, [20, 35, 15], 12, share=0.3, scale=(1, 1e-3)))
    logistic = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000, tol=1e-3)
    expected = []
    for train, test in RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=4).split(gates, labels):
        centre, scale = gates[train].mean(axis=0), gates[train].std(axis=0)
        right = logistic.fit((gates[train] - centre) / scale, labels[train]).predict((gates[test] - centre) / scale)
        expected.append(np.mean([np.mean(right[labels[test] == label] == label) for label in range(3)]))
    found = decode(gates, labels, repeats=3, seed=4)
    np.testing.assert_allclose(found.folds, expected, rtol=1e-12)
    assert found.accuracy == pytest.approx(np.mean(expected))


def test_limits_are_the_more_careful_of_corrected_t_and_wilson():
    gates, labels = stacked(draw(1, [30, 30], 6, share=0.2))
    found = decode(gates, labels)
    error = np.sqrt(found.folds.var(ddof=1) * (1 / 10 + 1 / 4))
    reach = stats.t.ppf(0.975, 9) * error
    wilson = stats.binomtest(round(found.accuracy * 60), 60).proportion_ci(method="wilson")
    assert found.low <= min(found.accuracy - reach, wilson.low) + 0.01
    assert found.high >= max(found.accuracy + reach, wilson.high) - 0.01
    assert found.low == pytest.approx(min(found.accuracy - reach, wilson.low), abs=0.01)


def test_separable_classes_are_told_apart_and_the_limit_stays_below_one():
    gates, labels = stacked([group + 20 * place for place, group in enumerate(draw(2, [10, 12, 14], 3))])
    found = decode(gates, labels)
    assert found.accuracy == 1
    assert found.high == 1
    assert found.low == pytest.approx(stats.binomtest(36, 36).proportion_ci(method="wilson").low)


def test_gates_that_know_nothing_give_chance_however_unequal_the_classes():
    found = decode(np.full((60, 4), 0.5), np.repeat([0, 1, 2], [40, 15, 5]))
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.chance == 1 / 3


def test_null_data_lie_above_chance_no_more_often_than_the_interval_says():
    runs, above, accuracies = 100, 0, []
    for seed in range(runs):
        found = decode(*stacked(draw(seed, [18, 27], 3)), repeats=1, seed=seed)
        above += found.low > found.chance
        accuracies.append(found.accuracy)
    assert above / runs <= band(0.025, runs)[1]
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.03)


def test_decoding_does_not_depend_on_the_unit_of_the_gates():
    gates, labels = stacked(draw(3, [20, 20], 8, share=0.3))
    np.testing.assert_array_equal(decode(0.5 + gates / 4096, labels).folds, decode(gates, labels).folds)


def test_small_classes_get_fewer_folds_and_single_images_no_verdict():
    gates, labels = stacked(draw(4, [3, 9], 4, share=0.2))
    assert len(decode(gates, labels, repeats=1).folds) == 3
    for counts in ([1, 9], [9]):
        found = decode(*stacked(draw(5, counts, 4)))
        assert np.isnan([found.accuracy, found.low, found.high]).all()
