"""Rank correlation over few units measured with error."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from se_probe.analysis.stats.intervals import fisher, student
from se_probe.analysis.stats.moments import Floats

FEWEST = 5
"""Units below which no interval is given."""
_MOST = 0.9999
"""Cap of correlations on Fisher's scale, because draws of few units often agree in all ranks."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation with its 95 % limits, NaN where undefined."""

    value: float
    low: float
    high: float


def rank_correlation(
    first: Floats,
    other: Floats,
    first_draws: Floats | None = None,
    other_draws: Floats | None = None,
) -> RankCorrelation:
    """Spearman's correlation of two measures, with limits for other units of the same kind.

    On Fisher's scale the variance is (1 + r²/2) / (n − 3) for the draw of units, plus that of the correlation over the
    draws of the measures; Student's t of n − 2 degrees replaces the normal, whose interval is too short for few units.
    Errors also pull the estimate towards 0. NaN limits for fewer than `FEWEST` units, NaN where a measure does not
    vary.

    Measures are `(unit,)`, their draws `(draw, unit)`, such as `jackknife_draws` or bootstrap replicates; without draws
    a measure has no error.

    Source: Bonett and Wright, Sample size requirements for estimating Pearson, Kendall and Spearman correlations,
    Psychometrika 65 (2000).
    """
    value = float(_spearman(first, other))
    units = len(first)
    if units < FEWEST or not np.isfinite(value):
        return RankCorrelation(value, float("nan"), float("nan"))
    variance = (1 + value**2 / 2) / (units - 3)
    if first_draws is not None or other_draws is not None:
        pair = (first if first_draws is None else first_draws, other if other_draws is None else other_draws)
        variance += float(np.var(fisher(_spearman(*pair), _MOST)))
    reach, centre = student(units - 2) * variance**0.5, float(fisher(value, _MOST))
    return RankCorrelation(value, float(np.tanh(centre - reach)), float(np.tanh(centre + reach)))


def jackknife_draws(whole: Floats, without: Floats, draws: int, *, seed: int = 0) -> Floats:
    """Measures `(draw, unit)` around `whole` with the jackknife's covariance over units, as if normal.

    Ranks cannot be jackknifed themselves: a single swap in one of G replicates would count G-fold.

    `without` holds the measures without each group of the data, `(group, unit)`; groups are the same for all units.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 11.5.
    """
    groups = len(without)
    steps = np.random.default_rng(seed).normal(0, np.sqrt((groups - 1) / groups), (draws, groups))
    return np.asarray(whole + steps @ (without - without.mean(axis=0)))


def partial_rank_correlation(first: Floats, other: Floats, fixed: Floats) -> float:
    """Spearman's correlation of two measures `(unit,)` with the ranks of a third, `fixed`, held constant.

    Source: Kendall, Partial Rank Correlation, Biometrika 32 (1942), with Spearman's coefficients.
    """
    between, left, right = (float(_spearman(a, b)) for a, b in ((first, other), (first, fixed), (other, fixed)))
    rest = (1 - left**2) * (1 - right**2)
    return (between - left * right) / rest**0.5 if rest > 0 else float("nan")


def _spearman(first: Floats, other: Floats) -> Floats:
    """Along the last axis, broadcast over the others; NaN where one side does not vary."""
    ranks = [stats.rankdata(values, axis=-1) for values in (first, other)]
    one, two = (values - values.mean(axis=-1, keepdims=True) for values in ranks)
    scale = np.sqrt(np.sum(one**2, axis=-1) * np.sum(two**2, axis=-1))
    return np.asarray(np.sum(one * two, axis=-1) / np.where(scale > 0, scale, np.nan))
