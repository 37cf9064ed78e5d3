"""The group of classes that stands out most, against scikit-learn, an exact enumeration and planted truths."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from se_probe.analysis.stats.enrichment import area_under_curve, best_group, largest_by_chance

CLASSES = 40


def groups(*sizes):
    """Nested and disjoint groups: each of `sizes` classes from a different start."""
    members = np.zeros((len(sizes), CLASSES), dtype=bool)
    for row, size in enumerate(sizes):
        members[row, 5 * row : 5 * row + size] = True
    return members


def test_the_area_under_the_curve_is_that_of_scikit_learn_with_and_without_ties():
    rng = np.random.default_rng(0)
    for means in (rng.normal(size=(6, CLASSES)), rng.integers(0, 4, size=(6, CLASSES)).astype(float)):
        members = groups(12)
        expected = [roc_auc_score(members[0], row) for row in means]
        found = best_group(means, members, largest_by_chance(members, permutations=99))
        np.testing.assert_allclose(found.auc, expected, rtol=1e-12)
        np.testing.assert_allclose(area_under_curve(means, members[0], ~members[0]), expected, rtol=1e-12)


def test_among_some_of_the_classes_only_these_are_ranked():
    means = np.random.default_rng(1).normal(size=(3, CLASSES))
    inside, outside = groups(6, 9)
    chosen = inside | (outside & ~inside)
    expected = [roc_auc_score(inside[chosen], row[chosen]) for row in means]
    np.testing.assert_allclose(area_under_curve(means, inside, outside & ~inside), expected, rtol=1e-12)
    assert np.isnan(area_under_curve(means, inside, np.zeros(CLASSES, dtype=bool))).all()


def test_p_is_that_of_all_permutations():
    means = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0], [0.0, 3.0, 1.0, 5.0, 2.0, 4.0]])
    members = np.array([[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]], dtype=bool)

    def largest(row):
        z = []
        for group in members:
            n, rest = group.sum(), (~group).sum()
            auc = np.mean([a > b for a in row[group] for b in row[~group]])
            z.append((auc - 0.5) / np.sqrt(7 / (12 * n * rest)))
        return max(z)

    every = np.array([largest(np.array(order)) for order in permutations(range(6))])
    expected = [np.mean(every >= largest(row) - 1e-9) for row in means]
    found = best_group(means, members, largest_by_chance(members, permutations=20_000, seed=3))
    np.testing.assert_allclose(found.p, expected, atol=0.02)


def test_a_planted_group_is_found_and_not_the_wider_one_that_holds_it():
    members = np.zeros((3, CLASSES), dtype=bool)
    members[0, :6] = members[1, :20] = members[2, 20:35] = True
    rng = np.random.default_rng(2)
    means = rng.normal(size=(200, CLASSES))
    means[:50, :6] += 3
    means[50:100, :20] += 3
    found = best_group(means, members, largest_by_chance(members))
    assert np.mean(found.group[:50] == 0) > 0.95
    assert np.mean(found.group[50:100] == 1) > 0.95
    assert np.median(found.p[:100]) <= 2e-4


def test_without_any_structure_p_is_uniform_though_the_best_of_many_groups_is_taken():
    members = groups(5, 8, 12, 20, 5, 7, 10)
    means = np.random.default_rng(4).normal(size=(4000, CLASSES))
    p = best_group(means, members, largest_by_chance(members, permutations=4999, seed=5)).p
    for level in (0.01, 0.05, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 4000))


def test_equal_means_have_no_group_and_ties_make_p_no_smaller():
    members = groups(10, 10)
    rng = np.random.default_rng(6)
    rounded = np.vstack([np.full(CLASSES, 0.5), rng.integers(0, 2, size=(2000, CLASSES))])
    found = best_group(rounded, members, largest_by_chance(members, permutations=1999))
    assert found.group[0] == -1
    assert np.isnan([found.auc[0], found.p[0]]).all()
    assert np.mean(found.p[1:] <= 0.05) < 0.06
