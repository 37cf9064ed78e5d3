"""Interval for the difference of two proportions of the same units, right also where hardly any unit differs."""

import math

from scipy import optimize, stats

from se_probe.analysis.kernels.intervals import CONFIDENCE


def paired_proportion_interval(
    lost: int, won: int, units: int, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Score interval for (lost − won) / units, the difference of two proportions of the same units.

    `lost` units have the property in the first condition only, `won` in the second only. Units are independent.
    Unlike a bootstrap, which knows no chance of what it has not seen, the interval has a width where nothing differs:
    0 ± z² / (units + z²).

    Source: Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design, Statistics in Medicine 17 (1998), equations 4, 13 and 14.
    """
    z = float(stats.norm.ppf((1 + confidence) / 2))
    estimate = (lost - won) / units

    def excess(difference: float, sign: int) -> float:
        return _score(difference, lost, won, units) + sign * z

    def limit(end: float, sign: int) -> float:
        if estimate == end:
            return end
        inside = estimate + (end - estimate) * (1 - 1e-12)
        return float(optimize.brentq(excess, *sorted((estimate, inside)), args=(sign,), xtol=1e-12))

    return limit(-1.0, -1), limit(1.0, 1)


def _score(difference: float, lost: int, won: int, units: int) -> float:
    """Score statistic of a supposed difference (Tango's equation 4, with the constrained estimate of the won)."""
    numerator = lost - won - units * difference
    if numerator == 0:
        return 0.0
    linear = -lost - won + (2 * units - lost + won) * difference
    constant = -won * difference * (1 - difference)
    chance_won = (math.sqrt(max(linear**2 - 8 * units * constant, 0.0)) - linear) / (4 * units)
    return numerator / math.sqrt(max(units * (2 * chance_won + difference * (1 - difference)), 1e-300))
