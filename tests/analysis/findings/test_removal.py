"""Claim 5: with an ablation, from a recording alone, and by the user's metric; nothing that was not measured."""

import numpy as np
import pytest

from se_probe.analysis.findings import findings
from se_probe.analysis.findings.evidence import read_evidence
from se_probe.analysis.findings.removal import last_stage_matters_less
from se_probe.errors import SeProbeError
from tests.analysis.ablated import SITES, planted, standard_interventions
from tests.analysis.findings.networks import recording

FALLING = dict(zip(SITES, (0.2, 0.2, 0.15, 0.15, 0.1, 0.1, 0.001, 0.001), strict=True))
RECORDING = recording()


def judged(worth, images=100, **facts):
    made = planted(worth, images=images, **facts)
    found = findings(RECORDING, ablation=made)
    return [finding for finding in found if finding.key.startswith("last-stage-matters-less")]


def test_a_last_stage_that_costs_next_to_nothing_matters_less():
    (finding,) = judged(FALLING)
    assert finding.key == "last-stage-matters-less-mean"
    assert (finding.verdict, finding.sites) == ("supported", ("SE_5_1", "SE_5_2"))
    assert "every gate of it held at its mean" in finding.claim
    assert finding.interval[0] <= finding.value <= finding.interval[1] < 1


def test_value_and_statement_are_those_of_the_outcomes():
    made = planted(FALLING, images=100)
    (finding,) = (one for one in findings(RECORDING, ablation=made) if one.key.startswith("last-stage-matters"))
    row = made.interventions.index[made.interventions["name"] == "stage 5"][0]
    others = [made.interventions.index[made.interventions["name"] == f"stage {stage}"][0] for stage in (2, 3, 4)]
    top1, clean = (made.outcomes[name].to_numpy() * 1.0 for name in ("top1", "clean_top1"))
    loss, lead = (100 * np.mean(a - b) for a, b in ((clean, top1[row]), (top1[row], top1[others])))
    assert finding.value == pytest.approx(loss)
    assert f"top-1 accuracy, {100 * clean.mean():.1f} %, falls by {loss:.1f} points" in finding.statement
    assert f"On average the other stages lose {lead:.1f} points (" in finding.statement
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


def losing(*shares, images=100):
    """The verdict where stages lose these shares of accuracy, the last stage's first."""
    last, *others = shares
    worth = dict.fromkeys(SITES, 0.0) | {"SE_5_1": last / 100 / 0.7}
    worth |= {f"SE_{stage}_1": share / 100 / 0.7 for stage, share in zip((2, 3, 4), others, strict=True)}
    (finding,) = judged(worth, images=images)
    return finding


def test_another_stage_that_costs_little_does_not_speak_against_the_claim():
    finding = losing(0, 0.5, 10, 10)
    assert finding.verdict == "supported"
    assert "On average the other stages lose 6." in finding.statement


@pytest.mark.parametrize("shares", [(0, 0.5, 10, 10), (0.9, 3, 3, 3), (0.2, 1.2, 1.2, 1.2), (2, 10, 10, 10)])
def test_more_images_settle_the_claim_and_never_reverse_it(shares):
    verdicts = {losing(*shares, images=images).verdict for images in (3, 10, 30, 300)}
    assert not {"supported", "not supported"} <= verdicts


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
    assert "It was not measured without those of stage 2, 3, 4; --sites stages measures all" in finding.statement
    assert finding.next_command == "ablate --with mean --sites stages"
    (finding,) = judged(FALLING | {"SE_5_2": 0.1}, rows=rows)
    assert finding.verdict == "not supported"


@pytest.mark.parametrize("rows", [[("one", "site", "SE_5_2", "mean")], standard_interventions(SITES, "shuffle")])
def test_other_interventions_leave_what_a_recording_can_say(rows):
    (finding,) = judged(FALLING, rows=rows)
    alone = next(one for one in findings(RECORDING) if one.key == "last-stage-matters-less")
    assert (finding.verdict, finding.value) == (alone.verdict, alone.value)
    assert "--sites stages" in finding.statement
    assert finding.next_command == "ablate --with mean --sites stages"


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


def test_what_removal_costs_is_never_claimed():
    for image_sd in (0.08, [0.08] * 6 + [0.001] * 2):
        finding = last_stage_matters_less(read_evidence(recording(0.0, image_sd), None))
        assert finding.verdict == "cannot be judged"
        assert finding.value == pytest.approx(np.broadcast_to(image_sd, 8)[-1], rel=0.1)
        assert finding.sites == ("SE_5_1", "SE_5_2")
        assert finding.statement.startswith("What removing gates costs in accuracy shows only when")


def test_one_image_a_class_says_nothing_of_the_last_stage():
    finding = last_stage_matters_less(read_evidence(recording(images=1), None))
    assert (finding.verdict, finding.value) == ("cannot be judged", None)
    assert "20 are needed" in finding.statement


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
