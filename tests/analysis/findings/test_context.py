"""Sentences on the null and on covariates of the images, from tables as the analyses write them."""

import numpy as np
import pandas as pd

from se_probe.analysis.findings import findings
from se_probe.analysis.findings.context import context_sentences
from se_probe.analysis.health import site_health
from tests.analysis.findings.networks import recording

SITES = ["SE_2_1", "SE_5_1"]
SPECIFICITY = pd.DataFrame(
    {
        "site": SITES,
        "omega_squared": [0.1, 0.5],
        "between_class_sd": [0.03, 0.04],
        "null_omega_squared": [0.02, 0.04],
        "null_between_class_sd": [0.003, 0.004],
    }
)
DECODABILITY = pd.DataFrame({"accuracy": [0.4, 0.8], "null_accuracy": [0.3, 0.5], "chance": [0.25, 0.25]})
COVARIATES = pd.DataFrame({"site": SITES, "explained": [0.02, 0.32]})


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
