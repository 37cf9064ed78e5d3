"""CKA and RSA: closed forms, an independent formula, invariances, and rates in simulation."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from se_probe.analysis.stats.alignment import centred_gram, cka_matrix, linear_cka, rsa_matrix


def gaussian(seed, images=40, columns=12):
    return np.random.default_rng(seed).normal(size=(images, columns))


def hsic(first, second):
    """Equation 5 of Song et al. (2012), term by term."""
    grams = [first @ first.T, second @ second.T]
    for gram in grams:
        np.fill_diagonal(gram, 0)
    a, b = grams
    n, one = len(a), np.ones(len(a))
    terms = np.trace(a @ b) + one @ a @ one * (one @ b @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ a @ b @ one)
    return terms / (n * (n - 3))


def reference_cka(first, second):
    return hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))


def cka(first, second):
    return linear_cka(centred_gram(first), centred_gram(second))


def test_cka_is_the_ratio_of_the_published_estimators():
    first, second = gaussian(0), gaussian(1, columns=5) + gaussian(0)[:, :5]
    assert cka(first, second).estimate == pytest.approx(reference_cka(first, second), rel=1e-9)
    a, b = centred_gram(first), centred_gram(second)
    assert np.sum(a * b) / (40 * 37) == pytest.approx(hsic(first, second), rel=1e-9)


def test_jackknife_is_over_images():
    first, second = gaussian(0, 12), gaussian(1, 12, 3) + gaussian(0, 12)[:, :3]
    without = [reference_cka(np.delete(first, i, axis=0), np.delete(second, i, axis=0)) for i in range(12)]
    z = np.arctanh(without)
    reach = stats.t.ppf(0.975, 11) * np.sqrt(11 / 12 * np.sum((z - z.mean()) ** 2))
    found = cka(first, second)
    centre = np.arctanh(reference_cka(first, second))
    assert (found.low, found.high) == pytest.approx((np.tanh(centre - reach), np.tanh(centre + reach)), rel=1e-8)


def test_same_and_rotated_and_scaled_and_shifted_representations_are_alike():
    values = gaussian(0)
    rotation, _ = np.linalg.qr(gaussian(3, 12, 12))
    assert cka(values, values).estimate == pytest.approx(1)
    assert cka(values, 1e-3 * values @ rotation + 0.5).estimate == pytest.approx(1)
    assert cka(values, values * np.arange(1, 13) ** 2).estimate < 0.9


def test_it_does_not_know_about_size_but_gates_that_do_not_vary_have_none():
    values = gaussian(0)
    assert cka(values, 0.5 + 1e-6 * values).estimate == pytest.approx(1, abs=1e-6)
    assert np.isnan(cka(values, np.full((40, 12), 0.1)).estimate)
    single = np.full((40, 12), 0.1)
    single[3] = 0.9
    assert np.isnan(cka(values, single).estimate)
    assert np.isnan(cka(values[:4], values[:4]).estimate)


def test_unrelated_representations_have_about_zero_where_the_biased_estimator_has_not():
    estimates = [float(cka(gaussian(2 * s, 20, 100), gaussian(2 * s + 1, 20, 100)).estimate) for s in range(200)]
    assert abs(np.mean(estimates)) < 4 * np.std(estimates) / np.sqrt(200)
    assert abs(np.mean(estimates)) < 0.02
    first, second = (values - values.mean(axis=0) for values in (gaussian(0, 20, 100), gaussian(1, 20, 100)))
    biased = np.linalg.norm(first.T @ second) ** 2 / np.linalg.norm(first.T @ first) / np.linalg.norm(second.T @ second)
    assert biased > 0.7


def test_limits_hold_the_true_alignment_at_the_nominal_rate():
    """Columns of unit variance, one of three shared: CKA of the population is 1/3."""
    held = 0
    for seed in range(300):
        values = gaussian(seed, 60, 5)
        found = cka(values[:, :3], values[:, 2:])
        held += found.low <= 1 / 3 <= found.high
    assert 0.91 <= held / 300 <= 0.99


def test_matrix_has_every_pair():
    first, second = [centred_gram(gaussian(s)) for s in range(2)], [centred_gram(gaussian(s)) for s in range(3)]
    matrix = cka_matrix(first, second)
    for row, column in np.ndindex(2, 3):
        assert matrix[row, column] == pytest.approx(float(linear_cka(first[row], second[column]).estimate))
    with_nothing = cka_matrix([*first, centred_gram(np.ones((40, 2)))], second)
    np.testing.assert_array_equal(np.isnan(with_nothing).all(axis=1), [False, False, True])


def test_rsa_is_the_rank_correlation_of_distances():
    first, second = pdist(gaussian(0, 12)), pdist(gaussian(1, 12))
    matrix = rsa_matrix([squareform(first)], [squareform(first), squareform(second)])
    expected = stats.spearmanr(first, second).statistic
    np.testing.assert_allclose(matrix, [[1, expected]], rtol=1e-12)


def test_rsa_needs_ten_classes_and_distances_that_differ():
    nine, ten = (squareform(pdist(gaussian(0, classes))) for classes in (9, 10))
    assert np.isnan(rsa_matrix([nine], [nine])).all()
    assert rsa_matrix([ten], [ten]) == pytest.approx(1)
    ties = 1 - np.eye(12)
    assert np.isnan(rsa_matrix([ties], [ties])).all()
