"""Neighbours are those of numpy's correlations, and unrelated columns have none."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.stats.neighbours import LEVEL, by_chance, neighbours


@pytest.fixture
def related():
    """Forty columns of noise; 1 follows 0 closely, 2 runs against it, 3 follows it loosely, 4 does not move."""
    values = np.random.default_rng(0).normal(size=(200, 40))
    noise = np.random.default_rng(1).normal(size=(200, 3))
    values[:, 1] = values[:, 0] + 0.1 * noise[:, 0]
    values[:, 2] = -values[:, 0] + 0.5 * noise[:, 1]
    values[:, 3] = values[:, 0] + 1.5 * noise[:, 2]
    values[:, 4] = 0.3 + 1e-4 * values[:, 0]
    return values


def test_neighbours_are_the_largest_correlations_of_numpy(related):
    places, r = neighbours(related, 3, least_sd=0.02)
    assert places[0].tolist() == [1, 2, 3]
    np.testing.assert_allclose(r[0], np.corrcoef(related.T)[0, [1, 2, 3]], rtol=1e-12)
    assert places[1].tolist() == [0, 2, 3]


def test_a_column_that_hardly_moves_has_none_and_is_none(related):
    places, r = neighbours(related, 3, least_sd=0.02)
    assert places[4].tolist() == [-1, -1, -1]
    assert np.isnan(r[4]).all()
    assert 4 not in places
    assert 4 in neighbours(related, 3)[0]


def test_more_columns_than_go_at_once():
    values = np.random.default_rng(0).normal(size=(12, 700))
    values[:, 650] = 2 * values[:, 20] + 1
    places, r = neighbours(values, 2)
    assert places[650, 0] == 20
    assert places[20, 0] == 650
    assert r[650, 0] == pytest.approx(1)


def test_unrelated_columns_have_a_neighbour_as_rarely_as_is_said():
    rng = np.random.default_rng(0)
    having = [(neighbours(rng.normal(size=(60, 30)), 1)[0] >= 0).mean() for _ in range(60)]
    assert np.mean(having) == pytest.approx(LEVEL, abs=0.015)


def test_the_bound_is_that_of_the_test_of_one_correlation():
    bound = by_chance(50, 11)
    x = np.random.default_rng(0).normal(size=(50, 2))
    x -= x.mean(axis=0)
    x[:, 1] -= x[:, 0] * (x[:, 0] @ x[:, 1]) / (x[:, 0] @ x[:, 0])
    x /= np.linalg.norm(x, axis=0)
    found = stats.pearsonr(x[:, 0], bound * x[:, 0] + np.sqrt(1 - bound**2) * x[:, 1])
    assert found.pvalue == pytest.approx(LEVEL / 10, rel=1e-9)


@pytest.mark.parametrize(("rows", "columns"), [(3, 10), (10, 1), (3, 1)])
def test_too_few_rows_or_columns_give_none(rows, columns):
    assert by_chance(rows, columns) == 1
    assert (neighbours(np.random.default_rng(0).normal(size=(rows, columns)), 2)[0] == -1).all()
