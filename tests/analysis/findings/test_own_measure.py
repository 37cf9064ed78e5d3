"""Claim 5 and the importance of sites by a measure of one's own, against the outcomes of planted effects."""

import numpy as np
import pytest

from se_probe.analysis.findings import findings
from tests.analysis.ablated import SITES, planted
from tests.analysis.findings.networks import recording

FALLING = dict(zip(SITES, (0.2, 0.2, 0.15, 0.15, 0.1, 0.1, 0.001, 0.001), strict=True))
RECORDING = recording()


def by_psnr(worth, rows=None):
    """Planted rises of NLL as falls of a measure of which more is better."""
    made = planted(worth, rows=rows)
    made.provenance = {"gates_from": "", "metric": {"name": "psnr", "unit": "dB", "lower_is_better": False}}
    made.outcomes = made.outcomes.rename({"nll": "metric", "clean_nll": "clean_metric"})
    for name in ("metric", "clean_metric"):
        made.outcomes[name] = 30 - made.outcomes[name]
    return made, {finding.key: finding for finding in findings(RECORDING, ablation=made)}


def test_the_lead_of_the_other_stages_is_that_of_the_outcomes():
    made, found = by_psnr(FALLING)
    finding = found["last-stage-matters-less-mean"]
    values = made.outcomes["metric"].to_numpy()
    rows = [made.interventions.index[made.interventions["name"] == f"stage {stage}"][0] for stage in (2, 3, 4, 5)]
    assert finding.value == pytest.approx(np.mean(values[rows[3]] - values[rows[:3]]))
    assert finding.verdict == "supported"
    assert finding.interval[0] < finding.value < finding.interval[1]
    assert finding.result.endswith(f"more on average ({finding.interval[0]:.3g} to {finding.interval[1]:.3g})")
    assert "dB" in finding.statement


def test_a_last_stage_that_matters_more_is_told_so():
    _, found = by_psnr(FALLING | {"SE_5_1": 0.9})
    finding = found["last-stage-matters-less-mean"]
    assert finding.verdict == "not supported"
    assert "lose 0.6" in finding.result
    assert "less on average" in finding.result


def test_without_the_other_stages_there_is_nothing_to_compare():
    rows = [("stage 5", "stage", "SE_5_1,SE_5_2", "mean")]
    finding = by_psnr(FALLING, rows)[1]["last-stage-matters-less-mean"]
    assert finding.verdict == "cannot be judged"
    assert finding.next_command == "ablate --with mean --sites stages"


def test_the_importance_of_sites_is_the_fall_of_the_measure():
    _, found = by_psnr(FALLING)
    finding = found["specific-sites-matter-more"]
    assert "fall of psnr" in finding.quantity
    assert "costs most (+0.2" in finding.statement
