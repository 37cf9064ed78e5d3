"""Class selectivity index and d′: values by hand, known compression, simulation."""

import numpy as np
import pytest

from se_probe.analysis.stats.moments import Moments
from se_probe.analysis.stats.selectivity import selectivity
from tests.analysis.stats.samples import draw, moments


def test_values_by_hand():
    count, mean = np.array([10, 20, 5]), np.array([[0.2, 0.6, 0.4]])
    m2 = 0.01 * (count - 1)[None, :]
    found = selectivity(Moments(count, mean, m2))
    assert found.best[0] == 1
    assert found.index[0] == pytest.approx((0.6 - 0.3) / (0.6 + 0.3))
    spread_of_rest = 0.01 + 0.1**2 - (0.01 / 10 + 0.01 / 5) / 4
    assert found.d_prime[0] == pytest.approx(0.3 / np.sqrt((0.01 + spread_of_rest) / 2))


def test_the_index_is_compressed_for_gates_near_one_half_and_d_prime_is_not():
    rng = np.random.default_rng(0)
    pattern = rng.normal(size=(50, 4, 1))
    live = [pattern[:, k] * 0.1 + (0.9 if k == 0 else 0.1) for k in range(4)]
    collapsed = [0.5 + 0.001 * (group - 0.5) for group in live]
    wide, tiny = selectivity(moments(live)), selectivity(moments(collapsed))
    assert wide.index[0] > 0.7
    assert tiny.index[0] < 0.001
    assert tiny.d_prime[0] == pytest.approx(wide.d_prime[0], rel=1e-6)


def test_mirrored_activations_and_negative_ones_have_no_index():
    groups = [group + 3 for group in draw(1, [8, 9, 10], 2)]
    groups[1][:, 1] -= 9
    found = selectivity(moments(groups))
    assert np.isfinite(found.index[0])
    assert np.isnan(found.index[1])
    assert np.isfinite(found.d_prime).all()


def test_a_true_d_prime_is_recovered_and_the_errors_are_the_spread_over_samples():
    rng = np.random.default_rng(2)
    means, deviations, counts = (0.8, 0.4, 0.5), (0.1, 0.1, 0.2), (40, 60, 30)
    groups = [m + s * rng.normal(size=(n, 4000)) for m, s, n in zip(means, deviations, counts, strict=True)]
    found = selectivity(moments(groups))
    rest_variance = (0.1**2 + 0.2**2) / 2 + 0.05**2
    assert np.mean(found.d_prime) == pytest.approx(0.35 / np.sqrt((0.1**2 + rest_variance) / 2), rel=0.02)
    assert np.mean(found.index) == pytest.approx(0.35 / 1.25, rel=0.005)
    assert np.mean(found.d_prime_error) == pytest.approx(found.d_prime.std(), rel=0.05)
    assert np.mean(found.index_error) == pytest.approx(found.index.std(), rel=0.05)


def test_branches_keep_their_shape():
    groups = [group.reshape(len(group), 2, 3) for group in draw(3, [5, 6, 7], 6)]
    made = moments(groups)
    flat = selectivity(Moments(made.count, made.mean.reshape(6, 3), made.m2.reshape(6, 3)))
    np.testing.assert_array_equal(selectivity(made).d_prime.ravel(), flat.d_prime)


def test_one_class_or_a_dead_channel_cannot_be_judged():
    single = selectivity(moments([np.eye(3)]))
    assert np.isnan([single.index, single.d_prime, single.index_error, single.d_prime_error]).all()
    dead = selectivity(moments([np.full((3, 1), 0.5), np.full((4, 1), 0.5)]))
    assert dead.index[0] == 0
    assert np.isnan(dead.d_prime[0])
