"""Explained share against the textbook's adjusted R², and its bias in simulation."""

import numpy as np
import pytest

from se_probe.analysis.stats.regression import explained_share

LABELS = np.repeat([0, 1, 2], [20, 15, 25])


def data(seed, share, columns=30, covariates=3):
    rng = np.random.default_rng(seed)
    known = rng.normal(size=(60, covariates))
    pattern = rng.normal(size=(covariates, columns)) / np.sqrt(covariates)
    gates = np.sqrt(share) * known @ pattern + np.sqrt(1 - share) * rng.normal(size=(60, columns))
    return gates + 5 * rng.normal(size=(3, columns))[LABELS], known + rng.normal(size=(3, covariates))[LABELS]


def test_one_column_has_the_adjusted_r_squared_of_a_regression_with_dummies():
    gates, known = data(0, 0.4, columns=1)
    dummies = np.eye(3)[LABELS]
    rest = [
        np.sum((gates - design @ np.linalg.lstsq(design, gates, rcond=None)[0]) ** 2)
        for design in (np.hstack([dummies, known]), dummies)
    ]
    assert explained_share(gates, LABELS, known) == pytest.approx(1 - (rest[0] / 54) / (rest[1] / 57), rel=1e-10)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_number_of_covariates_does_not_raise_the_share(share):
    found = []
    for seed in range(60):
        gates, known = data(seed, share)
        noise = np.random.default_rng(1000 + seed).normal(size=(60, 20))
        found.append([explained_share(gates, LABELS, np.hstack([known, noise])), explained_share(gates, LABELS, known)])
    np.testing.assert_allclose(np.mean(found, axis=0), [share, share], atol=0.02)


def test_covariates_that_repeat_others_or_do_not_vary_within_classes_change_nothing():
    gates, known = data(1, 0.3)
    more = np.hstack([known, known[:, :1] * 100 - 7, np.eye(3)[LABELS]])
    assert explained_share(gates, LABELS, more) == pytest.approx(explained_share(gates, LABELS, known), rel=1e-9)


def test_what_cannot_be_told_is_nan():
    gates, known = data(2, 0.3)
    assert np.isnan(explained_share(gates[:4], np.array([0, 0, 1, 1]), known[:4]))
    assert np.isnan(explained_share(np.full((60, 2), 0.3), LABELS, known))
