"""Claims about the last stage: saturation, one pattern, and what a recording cannot say."""

import numpy as np
import pytest

from se_probe.analysis.findings.evidence import read_evidence
from se_probe.analysis.findings.last_stage import (
    last_stage_matters_less,
    likeness_without,
    pattern_likeness,
    same_pattern_last,
    saturated_before_last,
)
from tests.analysis.findings.networks import CHANNELS, recording, sites
from tests.analysis.raw_recording import GateSite, RawRecording, mixed_recording


def _saturated_at(place, share):
    """Gates near 0.5, save that a share of the channels of one site is open."""
    made = recording()
    name = made.sites[place].name
    is_open = np.arange(CHANNELS) < share * CHANNELS
    made.raw[name] = {key: np.where(is_open, 0.99, gates) for key, gates in made.raw[name].items()}
    return made


def test_the_second_last_site_of_the_last_stage_is_the_one_judged():
    finding = saturated_before_last(read_evidence(_saturated_at(6, 0.75), None))
    assert (finding.verdict, finding.sites) == ("supported", ("SE_5_1",))
    assert finding.value == pytest.approx(0.75)


def test_a_site_that_saturates_more_is_named():
    finding = saturated_before_last(read_evidence(_saturated_at(2, 0.5), None))
    assert finding.verdict == "not supported"
    assert finding.sites == ("SE_3_1", "SE_5_1")
    assert "The site with most gates near 1 or 0 is SE_3_1: 50 % and 0 %." in finding.statement


def test_saturation_needs_a_second_site_sigmoids_and_images():
    alone = saturated_before_last(read_evidence(recording(places=sites((2, 3, 4, 5))), None))
    assert alone.statement == "The last stage has one site, SE_5_1; no site is its second-last."
    few = saturated_before_last(read_evidence(recording(images=4), None))
    assert few.statement == "A chosen class has 4 images, and 5 are needed; record more with --per-class."
    softmax = [GateSite(f"SK_5_{block}", 5, block, 3, branches=2, activation="softmax") for block in (1, 2)]
    raw = {site.name: mixed_recording().raw["SK_4_1"] for site in softmax}
    shared = saturated_before_last(read_evidence(RawRecording(softmax, ["pug"], raw), None))
    assert shared.verdict == "cannot be judged"
    assert shared.statement.startswith("The branches of SK_5_1 share a sum of one:")


def _judge_pattern(made):
    return same_pattern_last(read_evidence(made, None), made)


def test_classes_with_one_pattern_share_it_and_others_do_not():
    alike = _judge_pattern(recording(0.01, 0.03, classes=12))
    assert (alike.verdict, alike.sites) == ("supported", ("SE_5_2",))
    different = _judge_pattern(recording(0.2, 0.03, classes=12))
    assert different.verdict == "not supported"


def test_a_pattern_scaled_by_more_than_a_quarter_is_no_modest_change():
    made = recording(0.0, 0.02, classes=12)
    last = made.raw["SE_5_2"]
    for name, scale in zip(last, np.linspace(0.5, 1.5, 12), strict=True):
        last[name] = scale * last[name]
    finding = _judge_pattern(made)
    assert finding.value > 0.95
    assert finding.verdict == "not supported"


def test_gates_without_a_pattern_share_none():
    finding = _judge_pattern(recording(0.0, 0.0005, profile=0.0))
    assert finding.verdict == "cannot be judged"
    assert "there is no pattern that classes could share" in finding.statement


def test_likeness_is_correlation_with_the_other_classes_and_the_scale_between():
    mean = np.random.default_rng(3).uniform(size=(9, 4))
    alike, scale = pattern_likeness(mean)
    rest = mean[:, 1:].mean(axis=1)
    assert alike[0] == pytest.approx(np.corrcoef(mean[:, 0], rest)[0, 1])
    assert scale[0] == pytest.approx(np.linalg.lstsq(rest[:, None], mean[:, 0], rcond=None)[0][0])


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
    assert finding.statement.startswith(
        "No class has two images, so that nothing shows how much the gates move at SE_5_1 and SE_5_2. "
    )


def test_likeness_without_groups_is_that_of_the_classes_left():
    rng = np.random.default_rng(4)
    mean = rng.uniform(size=(30, 1)) + 0.1 * rng.normal(size=(30, 11))
    groups = rng.permutation(np.arange(11) % 4)
    expected = [
        np.mean([np.corrcoef(left[:, k], np.delete(left, k, axis=1).mean(axis=1))[0, 1] for k in range(left.shape[1])])
        for left in (mean[:, groups != group] for group in range(4))
    ]
    np.testing.assert_allclose(likeness_without(mean, groups), expected, rtol=1e-12)
