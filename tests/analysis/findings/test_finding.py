"""The rule that turns an interval into a verdict, alone and in the claims that use it."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.findings.depth import class_agnostic_early, more_variance_late
from se_probe.analysis.findings.evidence import read_evidence
from se_probe.analysis.findings.finding import above, all_of, below
from se_probe.analysis.findings.thresholds import AGNOSTIC_SD, RISE_OF_SD
from tests.analysis.findings.networks import recording, sites

BAR = 0.1
SITES = sites((2, 3, 4, 5))


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.11, 0.2), "supported"),
        ((0.05, 0.2), "cannot be judged"),
        ((0.05, 0.09), "not supported"),
        ((-0.2, 0.09), "not supported"),
        ((BAR, BAR), "cannot be judged"),
        ((np.nan, np.nan), "cannot be judged"),
    ],
)
def test_the_bar_alone_decides(interval, verdict):
    assert above(interval, BAR) == verdict
    opposite = {"supported": "not supported", "not supported": "supported"}
    assert below(interval, BAR) == opposite.get(verdict, verdict)


def test_a_claim_of_several_parts_falls_with_one_and_stands_with_all():
    assert all_of(["supported", "supported"]) == "supported"
    assert all_of(["supported", "cannot be judged"]) == "cannot be judged"
    assert all_of(["cannot be judged", "not supported"]) == "not supported"
    assert all_of([]) == "cannot be judged"


@pytest.mark.parametrize("units", [20, 50, 200])
@pytest.mark.parametrize("true", [0.09, 0.1, 0.11])
def test_no_amount_of_data_believes_the_wrong_side_of_the_bar(units, true):
    """Means of normal numbers with exact intervals: an effect of 0.09 was supported in 92 % of runs with 20 units."""
    values = np.random.default_rng(units).normal(true, 0.05, (4000, units))
    mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / units**0.5
    reach = stats.t.ppf(0.975, units - 1) * error
    shares = Counter(above(ends, BAR) for ends in zip(mean - reach, mean + reach, strict=True))
    nominal = 4000 * 0.025 + 3 * (4000 * 0.025 * 0.975) ** 0.5
    if true <= BAR:
        assert shares["supported"] <= nominal
    if true >= BAR:
        assert shares["not supported"] <= nominal


@pytest.mark.parametrize("classes", [20, 50, 200])
@pytest.mark.parametrize("effect", [0.7, 1.0, 1.5])
def test_claims_believe_the_wrong_side_no_more_often_than_their_intervals(classes, effect):
    """The rise of the spread within classes, and the spread between them, below, at and above their bars."""
    rise, between = effect * RISE_OF_SD, effect * AGNOSTIC_SD
    verdicts: dict[str, list[str]] = {"rise": [], "alike": []}
    for seed in range(20):
        spread = 0.08 + rise * np.linspace(0, 1, 4)
        made = recording(between, spread, places=SITES, classes=classes, images=6, seed=seed)
        evidence = read_evidence(made, None)
        verdicts["rise"].append(more_variance_late(evidence).verdict)
        verdicts["alike"].append(class_agnostic_early(evidence).verdict)
    wrong = {"rise": [], "alike": []}
    if effect <= 1:
        wrong["rise"].append("supported")
        wrong["alike"].append("not supported")
    if effect >= 1:
        wrong["rise"].append("not supported")
        wrong["alike"].append("supported")
    for name, words in wrong.items():
        for word in words:
            assert verdicts[name].count(word) <= 3, (name, word)  # more than 3 of 20 at 2.5 %: 0.1 %
