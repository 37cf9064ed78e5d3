"""Claims about depth on recordings of known truth, and how often they are believed where nothing is true."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.findings import findings
from se_probe.analysis.findings.depth import (
    class_agnostic_early,
    class_specific_late,
    context_sentences,
    more_variance_late,
)
from se_probe.analysis.findings.evidence import read_evidence
from se_probe.analysis.health import site_health
from tests.analysis.findings.networks import recording, sites

RISING = np.linspace(0.0, 0.2, 8)
TWO_SITES = ["SE_2_1", "SE_5_1"]
SPECIFICITY = pd.DataFrame(
    {
        "site": TWO_SITES,
        "omega_squared": [0.1, 0.5],
        "between_class_sd": [0.03, 0.04],
        "null_omega_squared": [0.02, 0.04],
        "null_between_class_sd": [0.003, 0.004],
    }
)
DECODABILITY = pd.DataFrame({"accuracy": [0.4, 0.8], "null_accuracy": [0.3, 0.5], "chance": [0.25, 0.25]})
COVARIATES = pd.DataFrame({"site": TWO_SITES, "explained": [0.02, 0.32]})


def _evidence(*args, **kwargs):
    return read_evidence(recording(*args, **kwargs), None)


def test_specificity_that_rises_with_depth_is_found():
    finding = class_specific_late(_evidence(RISING, classes=12))
    assert finding.verdict == "supported"
    true = RISING**2 / (RISING**2 + 0.08**2)
    depth = np.linspace(0, 1, 8)
    assert finding.interval[0] < np.polyfit(depth, true, 1)[0] < finding.interval[1]
    assert finding.sites == tuple(site.name for site in sites())
    assert "SE_4_1, SE_4_2, SE_5_1 and SE_5_2" in finding.statement


def test_early_sites_are_agnostic_where_classes_differ_late_only():
    late_only = np.repeat([0.01, 0.2], 4)
    finding = class_agnostic_early(_evidence(late_only, classes=12, images=20))
    assert finding.verdict == "supported"
    assert finding.sites == ("SE_2_1", "SE_2_2", "SE_3_1", "SE_3_2")
    assert finding.interval[0] <= 0.01 <= finding.interval[1]


def test_classes_that_differ_from_the_first_site_on_are_not_agnostic():
    finding = class_agnostic_early(_evidence(0.15, classes=12))
    assert finding.verdict == "not supported"
    assert finding.value == pytest.approx(0.15, rel=0.2)


def test_the_interval_covers_the_spread_of_the_classes_drawn_from():
    inside = 0
    for seed in range(40):
        low, high = class_agnostic_early(_evidence(0.06, classes=10, images=8, seed=seed)).interval
        inside += low < 0.06 < high
    assert inside >= 34


def test_without_class_structure_nothing_is_class_specific():
    verdicts = Counter(class_specific_late(_evidence(0.0, seed=seed)).verdict for seed in range(25))
    assert verdicts["supported"] == 0
    assert verdicts["not supported"] > 15


def test_equal_class_structure_at_all_depths_passes_for_a_rise_at_no_more_than_the_nominal_rate():
    supported = sum(class_specific_late(_evidence(0.08, seed=seed)).verdict == "supported" for seed in range(80))
    assert supported <= 6  # 2.5 % of 80 are 2; 7 or more have a probability of 0.004


def test_a_collapsed_network_is_neither_agnostic_nor_specific():
    evidence = _evidence(RISING / 100, 0.0008, profile=0.0)
    for judge in (class_agnostic_early, class_specific_late, more_variance_late):
        finding = judge(evidence)
        assert finding.verdict == "cannot be judged"
        assert finding.value is None
        assert "collapsed, mean gate" in finding.statement


def test_a_site_that_does_not_move_is_left_out_of_the_trend():
    spread = [0.08] * 8
    spread[0] = 1e-4
    finding = class_specific_late(_evidence([1e-4, *RISING[1:]], spread, classes=12))
    assert finding.verdict == "supported"
    assert "SE_2_1" not in finding.sites
    assert finding.statement.endswith("hardly move: SE_2_1.")


def test_variance_within_classes_that_rises_or_falls():
    rising = more_variance_late(_evidence(0.0, np.linspace(0.04, 0.16, 8)))
    assert rising.verdict == "supported"
    assert rising.interval[0] < 0.12 < rising.interval[1]
    assert more_variance_late(_evidence(0.0, np.linspace(0.16, 0.04, 8))).verdict == "not supported"


def test_a_rise_too_small_to_speak_of_is_none():
    finding = more_variance_late(_evidence(0.0, np.linspace(0.08, 0.085, 8), classes=60, images=60))
    assert finding.interval[0] > 0
    assert finding.verdict == "not supported"


def test_few_classes_few_images_one_stage_few_sites_and_unbounded_gates_cannot_be_judged():
    few_classes = class_specific_late(_evidence(RISING, classes=4))
    assert few_classes.verdict == "cannot be judged"
    assert few_classes.statement.startswith("4 classes have 5 images or more, and 5 are needed")
    assert few_classes.next_command == "excite --reference-per-class 50"
    assert class_agnostic_early(_evidence(RISING, images=4)).statement.startswith("0 classes have 5 images or more")
    assert "stage 4" in class_agnostic_early(_evidence(0.1, places=sites((4, 4, 4, 4)))).statement
    three = class_specific_late(_evidence(0.1, places=sites((2, 3, 4)))).statement
    assert three.startswith("3 sites in 3 stages")
    assert "needs 4 in 2 stages" in three


def test_the_spread_is_that_of_the_class_means_with_k_minus_one():
    made = recording(0.1, 0.01, classes=5, images=60)
    early = [made.raw[name] for name in ("SE_2_1", "SE_2_2", "SE_3_1", "SE_3_2")]
    variances = [np.var([gates.mean(axis=0) for gates in raw.values()], axis=0, ddof=1) for raw in early]
    finding = class_agnostic_early(read_evidence(made, None))
    assert finding.value == pytest.approx(np.sqrt(np.mean(variances)), rel=1e-3)


def test_a_share_that_rises_is_not_enough_where_class_means_hardly_differ():
    finding = class_specific_late(_evidence(np.linspace(0.0, 0.014, 8), 0.022, classes=40, images=30))
    assert finding.interval[0] > 0.1
    assert finding.verdict == "not supported"


def test_the_null_stands_beside_specificity_with_the_numbers_of_both():
    told = context_sentences({"site_specificity.csv": SPECIFICITY, "site_decodability.csv": DECODABILITY})
    (sentence,) = told.values()
    assert "fresh weights" in sentence
    assert "ω² is 0.03 (here 0.30" in sentence
    assert (
        f"{np.sqrt((0.003**2 + 0.004**2) / 2):.4f} gate units (here {np.sqrt((0.03**2 + 0.04**2) / 2):.4f}" in sentence
    )
    assert "50 % of the images at the best site (here 80 %, chance 25 %)" in sentence


def test_covariates_are_told_by_their_mean_and_the_site_that_follows_them_most():
    (sentence,) = context_sentences({"site_covariates.csv": COVARIATES}).values()
    assert "explain 17 % of the variance within classes" in sentence
    assert "32 % at SE_5_1" in sentence


def test_without_null_and_covariates_nothing_is_said():
    assert context_sentences({"site_specificity.csv": SPECIFICITY.drop(columns="null_omega_squared")}) == {}
    assert context_sentences({"site_covariates.csv": COVARIATES.assign(explained=np.nan)}) == {}


def test_sentences_end_the_statements_of_their_claims():
    made = recording(0.1, classes=12)
    tables = {"site_health.csv": site_health(made), "site_covariates.csv": COVARIATES}
    statements = {finding.key: finding.statement for finding in findings(made, tables)}
    assert statements["more-variance-within-classes-late"].endswith("32 % at SE_5_1.")
    assert "explain" not in statements["class-specific-late"]
