"""Claim 5 with an ablation: marginal or not, less than other stages or not, and nothing that was not measured."""

import numpy as np
import pytest

from se_probe.analysis.findings import findings
from se_probe.errors import SeProbeError
from tests.analysis.ablated import SITES, planted, standard_interventions
from tests.analysis.findings.networks import recording

FALLING = dict(zip(SITES, (0.2, 0.2, 0.15, 0.15, 0.1, 0.1, 0.001, 0.001), strict=True))
RECORDING = recording()


def judged(worth, **facts):
    made = planted(worth, images=100, **facts)
    found = findings(RECORDING, ablation=made)
    return [finding for finding in found if finding.key.startswith("last-stage-matters-less")]


def test_a_last_stage_that_costs_next_to_nothing_matters_less():
    (finding,) = judged(FALLING)
    assert finding.key == "last-stage-matters-less-mean"
    assert (finding.verdict, finding.sites) == ("supported", ("SE_5_1", "SE_5_2"))
    assert "here every one of them is held at its mean" in finding.claim
    assert finding.interval[0] <= finding.value <= finding.interval[1] < 1


def test_value_and_statement_are_those_of_the_outcomes():
    made = planted(FALLING, images=100)
    (finding,) = (one for one in findings(RECORDING, ablation=made) if one.key.startswith("last-stage-matters"))
    row = made.interventions.index[made.interventions["name"] == "stage 5"][0]
    other = made.interventions.index[made.interventions["name"] == "stage 2"][0]
    top1, clean = (made.outcomes[name].to_numpy() * 1.0 for name in ("top1", "clean_top1"))
    loss, lead = (100 * np.mean(a - b) for a, b in ((clean, top1[row]), (top1[row], top1[other])))
    assert finding.value == pytest.approx(loss)
    assert f"top-1 accuracy, {100 * clean.mean():.1f} %, falls by {loss:.1f} points" in finding.statement
    assert f"{lead:.1f} points (" in finding.statement.split("stage 2 it falls by")[1].split("more")[0]
    assert "on 1000 images of 10 classes with equal weights" in finding.statement
    assert finding.statement.endswith("The network was not trained again, after which it may lose less.")


def test_a_last_stage_that_costs_more_than_a_point_is_no_marginal_loss():
    (finding,) = judged(FALLING | {"SE_5_1": 0.06})
    assert finding.verdict == "not supported"
    assert finding.interval[0] > 1


def test_where_no_stage_costs_anything_the_last_does_not_matter_less():
    (finding,) = judged(dict.fromkeys(SITES, 0.0))
    assert finding.verdict == "not supported"
    assert finding.interval[1] < 1


def test_few_images_cannot_tell():
    made = planted(FALLING | {"SE_5_1": 0.02}, classes=5, images=10)
    verdicts = {one.key: one.verdict for one in findings(RECORDING, ablation=made)}
    assert verdicts["last-stage-matters-less-mean"] == "cannot be judged"


def test_identity_and_mean_are_two_findings():
    rows = [*standard_interventions(SITES, "identity"), *standard_interventions(SITES, "mean")]
    keys = [finding.key for finding in judged(FALLING, rows=rows)]
    assert keys == ["last-stage-matters-less-identity", "last-stage-matters-less-mean"]


def test_without_other_stages_the_claim_can_fall_and_not_stand():
    rows = [("last", "sites", "SE_5_1,SE_5_2", "mean")]
    (finding,) = judged(FALLING, rows=rows)
    assert finding.verdict == "cannot be judged"
    assert "It was not measured without those of stage 2, 3, 4." in finding.statement
    (finding,) = judged(FALLING | {"SE_5_2": 0.1}, rows=rows)
    assert finding.verdict == "not supported"


@pytest.mark.parametrize("rows", [[("one", "site", "SE_5_2", "mean")], standard_interventions(SITES, "shuffle")])
def test_other_interventions_leave_what_a_recording_can_say(rows):
    (finding,) = judged(FALLING, rows=rows)
    assert finding == next(one for one in findings(RECORDING) if one.key == "last-stage-matters-less")


def test_without_known_units_there_is_no_accuracy():
    made = planted(FALLING)
    made.outcomes["labelled"] = ("image", np.zeros(300, dtype=bool))
    found = {one.key: one for one in findings(RECORDING, ablation=made)}["last-stage-matters-less-mean"]
    assert (found.verdict, found.value) == ("cannot be judged", None)
    assert found.statement == "The network has no unit for the class of any image, so that there is no accuracy."


def test_an_ablation_of_another_network_is_refused():
    with pytest.raises(SeProbeError) as error:
        findings(RECORDING, ablation=planted({"SE_2_1": 0.1, "SE_9_1": 0.1}))
    assert str(error.value) == (
        "the ablation replaces SE_9_1, which is no site of the recording; expected an ablation of the network that was "
        "recorded"
    )
