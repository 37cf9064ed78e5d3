"""Similarity of classes: numpy and scipy as references, hierarchies by hand, rates in simulation."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from se_probe.analysis.stats.similarity import (
    cluster,
    correlation,
    deviation_correlation,
    hierarchy_distance,
    matrix_correlations,
    pair_mean,
    rms_distance,
    squared_distance,
)
from tests.analysis.stats.samples import draw, moments


def points(seed, classes):
    position = np.random.default_rng(seed).normal(size=(classes, 3))
    return rms_distance(position)


def test_correlations_are_numpys():
    means = np.random.default_rng(0).uniform(size=(6, 40))
    np.testing.assert_allclose(correlation(means), np.corrcoef(means), rtol=1e-10)
    np.testing.assert_allclose(deviation_correlation(means), np.corrcoef(means - means.mean(axis=0)), rtol=1e-10)


def test_unrelated_classes_share_only_the_level_of_the_channels():
    rng = np.random.default_rng(1)
    means = rng.uniform(size=4000) + 0.02 * rng.normal(size=(5, 4000))
    apart = ~np.eye(5, dtype=bool)
    assert correlation(means)[apart].min() > 0.99
    np.testing.assert_allclose(deviation_correlation(means)[apart], -1 / 4, atol=0.06)


def test_a_flat_class_has_no_correlation():
    found = correlation(np.array([[0.5, 0.5], [0.1, 0.9]]))
    assert np.isnan(found[0]).all()
    assert found[1, 1] == pytest.approx(1)


def test_distance_is_in_gate_units():
    np.testing.assert_allclose(rms_distance([[0.1, 0.1], [0.4, 0.4]]), [[0, 0.3], [0.3, 0]])


def test_squared_distance_is_free_of_the_noise_of_the_means():
    made = moments(draw(2, [4, 12, 30], 6000))
    shifted = made.mean.T + np.array([[0.0], [0.0], [0.5]])
    found = squared_distance(rms_distance(shifted), made)
    np.testing.assert_allclose(found, [[0, 0, 0.25], [0, 0, 0.25], [0.25, 0.25, 0]], atol=0.03)
    assert rms_distance(shifted)[0, 1] ** 2 == pytest.approx(1 / 4 + 1 / 12, abs=0.03)


def matrix_correlation(first, second, **options):
    return matrix_correlations([first], second, **options)[0]


def test_hierarchy_distance_by_hand():
    paths = [[("e", "animal", "dog", "pug")], [("e", "animal", "fish")], [("e", "thing")], [("other",)]]
    expected = [
        [0, 1 - 4 / 7, 1 - 2 / 6, 1],
        [1 - 4 / 7, 0, 1 - 2 / 5, 1],
        [1 - 2 / 6, 1 - 2 / 5, 0, 1],
        [1, 1, 1, 0],
    ]
    np.testing.assert_allclose(hierarchy_distance(paths), expected)


def test_paths_that_part_do_not_meet_again():
    assert hierarchy_distance([[("e", "a", "x")], [("e", "b", "x")]])[0, 1] == pytest.approx(1 - 2 / 6)


def test_of_several_paths_the_most_similar_pair_counts():
    pug = [("e", "animal", "dog", "pug"), ("e", "pet", "pug")]
    tabby = [("e", "animal", "cat", "tabby"), ("e", "pet", "tabby"), ("e", "thing", "tabby")]
    expected = [[0, 1 - 4 / 6], [1 - 4 / 6, 0]]
    np.testing.assert_allclose(hierarchy_distance([pug, tabby]), expected)


def test_p_can_be_as_small_as_a_correction_over_many_sites_needs():
    assert matrix_correlation(points(6, 10), points(6, 10) ** 2).p == 1 / 10_000


def test_pair_mean_and_its_jackknife_error():
    pairs = points(3, 7)
    mean, error = pair_mean(pairs)
    assert mean == pytest.approx(squareform(pairs).mean(), rel=1e-12)
    without = [squareform(np.delete(np.delete(pairs, k, 0), k, 1)).mean() for k in range(7)]
    assert error == pytest.approx(np.sqrt(6 / 7 * np.sum((np.array(without) - np.mean(without)) ** 2)), rel=1e-10)
    assert np.isnan(pair_mean(np.ones((1, 1)))).all()
    assert pair_mean(np.array([[0, 2.0], [2, 0]]))[0] == 2


def test_clustering_finds_groups_and_draws_them_side_by_side():
    means = np.array([[0.1, 0.1], [0.9, 0.9], [0.12, 0.1], [0.9, 0.88], [0.1, 0.13]])
    found = cluster(rms_distance(means))
    groups = [row in (1, 3) for row in found.order]
    assert groups in ([True] * 2 + [False] * 3, [False] * 3 + [True] * 2)
    assert found.cophenetic > 0.99
    assert found.linkage[-1, 2] == pytest.approx(
        np.mean([rms_distance(means)[a, b] for a in (1, 3) for b in (0, 2, 4)]), rel=1e-12
    )


def test_a_tree_describes_an_ultrametric_perfectly_and_ties_not_at_all():
    ultrametric = np.array([[0, 1, 4, 4], [1, 0, 4, 4], [4, 4, 0, 2], [4, 4, 2, 0.0]])
    assert cluster(ultrametric).cophenetic == pytest.approx(1)
    assert np.isnan(cluster(np.ones((3, 3)) - np.eye(3)).cophenetic)


def test_matrix_correlation_is_spearmans_correlation_of_the_pairs():
    first, second = points(4, 12), points(5, 12)
    found = matrix_correlation(first, second, permutations=9)
    assert found.correlation == pytest.approx(stats.spearmanr(squareform(first), squareform(second)).statistic)
    assert found.low < found.correlation < found.high


def test_matrix_correlation_with_itself_is_perfect():
    found = matrix_correlation(points(6, 10), points(6, 10) ** 2, permutations=99)
    assert found.correlation == pytest.approx(1)
    assert found.p == 0.01


def test_unrelated_matrices_agree_significantly_at_the_nominal_rate():
    runs = 400
    p = [matrix_correlation(points(2 * s, 12), points(2 * s + 1, 12), permutations=99, seed=s).p for s in range(runs)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))


def test_the_interval_of_unrelated_matrices_holds_zero_at_about_the_nominal_rate():
    runs = 300
    held = 0
    for seed in range(runs):
        found = matrix_correlation(points(2 * seed, 25), points(2 * seed + 1, 25), permutations=1)
        held += found.low <= 0 <= found.high
    assert 0.9 <= held / runs <= 0.99


def test_too_few_classes_or_only_ties_cannot_be_judged():
    for first, second in ((points(7, 3), points(8, 3)), (points(7, 6), 1.0 - np.eye(6))):
        found = matrix_correlation(first, second, permutations=9)
        assert np.isnan([found.correlation, found.low, found.high, found.p]).all()


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-9])
def test_distances_are_those_of_pairs_one_by_one_however_close_the_classes(spread):
    rng = np.random.default_rng(9)
    means = 0.5 + spread * rng.normal(size=(60, 200))
    means[1] = means[0]
    means[2] = means[3] + 1e-6 * spread * rng.normal(size=200)
    means[4] += 1.0
    expected = squareform(pdist(means)) / np.sqrt(200)
    np.testing.assert_allclose(rms_distance(means), expected, rtol=1e-9, atol=0)
    assert rms_distance(means)[0, 1] == 0


def test_many_matrices_have_the_p_values_of_each_shuffled_alone():
    firsts, second = [points(seed, 15) + 0.2 * points(20, 15) for seed in (10, 11, 12)], points(20, 15)
    found = matrix_correlations([*firsts, 1.0 - np.eye(15)], second, permutations=60, seed=3)
    orders = np.random.default_rng(3)
    orders = [orders.permutation(15) for _ in range(60)]
    for first, one in zip(firsts, found, strict=False):
        pairs = squareform(first)
        shuffled = [stats.spearmanr(pairs, squareform(second[np.ix_(order, order)])).statistic for order in orders]
        observed = stats.spearmanr(pairs, squareform(second)).statistic
        assert one.correlation == pytest.approx(observed, rel=1e-12)
        assert one.p == (1 + np.sum(np.array(shuffled) >= observed - 1e-12)) / 61
    assert np.isnan(found[-1].p)
