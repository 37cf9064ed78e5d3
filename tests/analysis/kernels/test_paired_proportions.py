"""Tango's interval: closed forms, an independent likelihood, and coverage."""

import numpy as np
import pytest
from scipy import optimize, stats

from se_probe.analysis.kernels.paired_proportions import paired_proportion_interval

Z = stats.norm.ppf(0.975)


@pytest.mark.parametrize("units", [1, 10, 1250])
def test_where_nothing_differs_it_has_a_width(units):
    low, high = paired_proportion_interval(0, 0, units)
    assert high == pytest.approx(Z**2 / (units + Z**2), rel=1e-6)
    assert low == pytest.approx(-high)


def score(difference, lost, won, units):
    """The score statistic with its nuisance parameter found by maximising the likelihood numerically."""

    def minus_log_likelihood(chance_won):
        cells = (chance_won + difference, chance_won, 1 - 2 * chance_won - difference)
        counts = (lost, won, units - lost - won)
        return -sum(count * np.log(cell) for count, cell in zip(counts, cells, strict=True) if count)

    lowest, highest = max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12
    chance_won = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}
    ).x
    variance = (2 * chance_won + difference - difference**2) / units
    return ((lost - won) / units - difference) / np.sqrt(variance)


@pytest.mark.parametrize(("lost", "won", "units"), [(12, 2, 50), (3, 0, 1250), (0, 5, 40), (74, 51, 1250), (9, 9, 60)])
def test_limits_are_where_the_score_reaches_the_quantile(lost, won, units):
    low, high = paired_proportion_interval(lost, won, units)
    assert low < (lost - won) / units < high
    assert score(low, lost, won, units) == pytest.approx(Z, abs=1e-3)
    assert score(high, lost, won, units) == pytest.approx(-Z, abs=1e-3)


def test_mirrored():
    low, high = paired_proportion_interval(7, 3, 100)
    assert paired_proportion_interval(3, 7, 100) == pytest.approx((-high, -low))


def test_at_the_ends():
    assert paired_proportion_interval(5, 0, 5)[1] == 1.0
    assert paired_proportion_interval(0, 5, 5)[0] == -1.0


def test_a_higher_confidence_is_wider():
    assert paired_proportion_interval(5, 2, 100, confidence=0.99)[1] > paired_proportion_interval(5, 2, 100)[1]


@pytest.mark.parametrize(("lost", "won"), [(0.002, 0.001), (0.03, 0.02), (0.2, 0.05)])
def test_coverage(lost, won):
    draws = np.random.default_rng(0).multinomial(300, [lost, won, 1 - lost - won], size=1500)
    covered = []
    for one, other, _ in draws:
        low, high = paired_proportion_interval(int(one), int(other), 300)
        covered.append(low <= lost - won <= high)
    assert 0.93 <= np.mean(covered) <= 1.0
