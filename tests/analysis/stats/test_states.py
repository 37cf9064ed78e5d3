"""States, verdicts, entropy and effective rank, by hand."""

import numpy as np
import pytest

from se_probe.analysis.stats.states import branch_entropy, channel_states, effective_rank, site_verdict


def test_states_by_level_and_spread():
    level = np.array([0.5, 0.96, 0.04, 0.5, 0.96, 0.5])
    spread = np.array([0.1, 0.001, 0.001, 0.0199, 0.3, np.nan])
    states = channel_states(level, spread, bounded=True)
    assert states.tolist() == ["dynamic", "open", "closed", "constant", "dynamic", "unknown"]
    assert channel_states(level, spread, bounded=False).tolist()[1:3] == ["constant", "constant"]


@pytest.mark.parametrize(
    ("level", "spread", "verdict"),
    [
        ([0.2, 0.5, 0.9, 0.7], [0.2, 0.1, 0.03, 0.3], "live"),
        ([0.99, 0.99, 0.5, 0.5], [0.001, 0.001, 0.2, 0.2], "live"),
        ([0.99, 0.97, 0.01, 0.5], [0.001, 0.001, 0.001, 0.2], "saturated"),
        ([0.99, 0.97, 0.60, 0.50], [0.001, 0.001, 0.001, 0.001], "saturated"),
        ([0.50, 0.51, 0.49, 0.50], [0.001, 0.0, 0.002, 0.001], "collapsed"),
        ([0.50, 0.51, 0.49, 0.80], [0.001, 0.0, 0.002, 0.2], "collapsed"),
        ([0.20, 0.40, 0.60, 0.80], [0.001, 0.0, 0.002, 0.001], "constant"),
        ([0.20, 0.40, 0.60, 0.80], [0.001, 0.0, np.nan, 0.001], "unknown"),
    ],
)
def test_verdicts(level, spread, verdict):
    levels = np.array(level)
    assert site_verdict(levels, channel_states(levels, np.array(spread), bounded=True)) == verdict


def test_entropy_over_branches():
    gates = np.array([[[0.5, 1.0, 0.9], [0.5, 0.0, 0.1]]])
    expected = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    np.testing.assert_allclose(branch_entropy(gates), [[1, 0, expected]], atol=1e-12)
    assert branch_entropy(np.full((1, 3, 1), 1 / 3))[0, 0] == pytest.approx(1)


def test_effective_rank_counts_even_directions():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(30, 5)))[0].T
    scores = rng.normal(size=(200, 5))
    scores = np.linalg.qr(scores - scores.mean(axis=0))[0]
    assert effective_rank(0.5 + scores @ directions) == pytest.approx(5)
    assert effective_rank(0.5 + 1e-3 * scores @ directions) == pytest.approx(5)
    assert effective_rank(scores[:, :1] @ directions[:1]) == pytest.approx(1)


def test_effective_rank_by_hand():
    scores = np.array([[1.0, 0], [-1, 0], [0, 3], [0, -3]])
    assert effective_rank(scores) == pytest.approx(np.exp(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75))))


def test_gates_that_do_not_vary_have_no_rank():
    assert effective_rank(np.full((7, 3), 0.1)) == 0
    assert effective_rank(np.array([[0.3, 0.6]])) == 0
