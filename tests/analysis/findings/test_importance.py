"""Whether specific sites matter more, on recordings and ablations of known truth."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.findings import findings
from tests.analysis.ablated import planted, standard_interventions
from tests.analysis.findings.networks import recording, sites

STAGES = (2,) * 4 + (3,) * 4 + (4,) * 4 + (5,) * 4
SPREADS = np.random.default_rng(0).permutation(np.linspace(0.03, 0.2, 16))
KEY = "specific-sites-matter-more"


def judged(worth, spreads=SPREADS, stages=STAGES, **facts):
    places = sites(stages)
    made = recording(spreads, places=places, classes=20, images=20)
    ablation = planted(dict(zip((site.name for site in places), worth, strict=True)), **facts)
    return {finding.key: finding for finding in findings(made, ablation=ablation)}.get(KEY)


def test_costs_that_follow_specificity_are_found():
    finding = judged(2 * SPREADS)
    assert finding.verdict == "supported"
    assert finding.value > 0.9
    assert len(finding.sites) == 16
    assert f"SE_{STAGES[SPREADS.argmax()]}_" in finding.statement
    assert "every gate of it held at its mean" in finding.claim


def test_costs_that_run_against_specificity_are_no_support():
    assert judged(0.4 - SPREADS).verdict == "not supported"


def test_costs_that_have_nothing_to_do_with_it_cannot_be_judged():
    finding = judged(np.random.default_rng(5).permutation(SPREADS))
    assert finding.verdict == "cannot be judged"
    assert finding.interval[0] < 0 < finding.interval[1]


def test_value_is_spearmans_correlation():
    worth = 0.3 * np.random.default_rng(1).uniform(size=16) + SPREADS
    finding = judged(worth, spread=0.0)
    assert finding.value == pytest.approx(stats.spearmanr(SPREADS, worth).statistic, abs=0.05)


def test_few_sites_cannot_be_judged():
    finding = judged([0.1] * 4, [0.1] * 4, (2, 3, 4, 5))
    assert (finding.verdict, finding.value) == ("cannot be judged", None)
    assert finding.statement == (
        "4 sites were replaced alone and have bounded gates that depend on the image; the order of fewer than 8 says "
        "nothing about others."
    )


def test_the_replacement_of_most_sites_is_taken_and_without_any_there_is_no_finding():
    names = [site.name for site in sites(STAGES)]
    whole = standard_interventions(names, "identity")
    finding = judged(2 * SPREADS, rows=[*whole, ("one", "site", names[0], "mean")])
    assert "every gate of it set to 1" in finding.claim
    assert judged(2 * SPREADS, rows=standard_interventions(names, "swap:a,b")) is None
