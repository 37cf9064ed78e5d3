"""Claims about sites of the last stage: saturation, and one pattern."""

import numpy as np
import pytest

from se_probe.analysis.findings import findings
from se_probe.analysis.findings.evidence import read_evidence
from se_probe.analysis.findings.last_stage import (
    likeness,
    pattern_correlation,
    pattern_covariance,
    pattern_scale,
    same_pattern_last,
    saturated_before_last,
)
from se_probe.analysis.gates import SiteGates, SiteMoments
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


@pytest.mark.parametrize(("profile", "image_sd"), [(0.0, 0.0005), (0.1, 0.0005)])
def test_constant_gates_have_no_pattern_to_judge(profile, image_sd):
    finding = _judge_pattern(recording(0.0, image_sd, profile=profile, classes=12, images=50))
    assert finding.verdict == "cannot be judged"
    assert "hardly depend on the image at SE_5_2" in finding.statement


def test_gates_that_move_about_one_mean_gate_have_no_pattern():
    finding = _judge_pattern(recording(0.0, 0.1, profile=0.0, classes=12, images=200))
    assert finding.verdict == "cannot be judged"
    assert "there is no pattern that classes could share" in finding.statement


def test_one_true_pattern_is_never_called_several_and_found_where_it_is_narrow():
    """With 10 images per class, the noise of class means is as large as the profile."""
    verdicts = [
        _judge_pattern(recording(0.0, 0.08, profile=0.03, classes=20, images=10, seed=seed)).verdict
        for seed in range(20)
    ]
    assert verdicts.count("not supported") <= 1
    assert verdicts.count("supported") >= 10


def test_the_papers_site_is_named_only_where_the_network_has_it():
    claims = {finding.key: finding.claim for finding in findings(recording())}
    assert "SE_5_2" not in claims["second-last-site-saturates"]
    assert "SE_5_3" not in claims["last-site-same-pattern"]
    paper = recording(places=sites((2, 3, 4, 4, 5, 5, 5)))
    claims = {finding.key: finding.claim for finding in findings(paper)}
    assert "SE_5_2 as in the paper" in claims["second-last-site-saturates"]
    assert "SE_5_3 as in the paper" in claims["last-site-same-pattern"]


SITE = GateSite("SE_5_3", 5, 3, 40)


def made(true, images, within, together=0.0, seed=0):
    """Moments of images about the true means (column, class); a share of their variance moves all columns at once."""
    rng = np.random.default_rng(seed)
    columns, classes = true.shape
    shape = (classes, images, columns)
    noise = np.sqrt(1 - together) * rng.normal(size=shape) + np.sqrt(together) * rng.normal(size=(*shape[:2], 1))
    values = true.T[:, None] + within * noise
    mean = values.mean(axis=1)
    m2 = np.sum((values - mean[:, None]) ** 2, axis=1)
    names = [str(place) for place in range(classes)]
    moments = SiteMoments(np.full(classes, images), mean.T, m2.T, SITE, names)
    labels = np.repeat(np.arange(classes), images)
    return moments, SiteGates(values.reshape(-1, columns), labels, names), np.arange(classes)


def test_without_noise_it_is_the_correlation_with_the_other_classes_weighted_by_variance():
    true = np.random.default_rng(3).uniform(size=(9, 1)) + 0.3 * np.random.default_rng(4).uniform(size=(9, 4))
    rest = [np.delete(true, place, axis=1).mean(axis=1) for place in range(4)]
    correlations = [np.corrcoef(true[:, place], rest[place])[0, 1] for place in range(4)]
    expected = np.average(np.square(correlations), weights=np.var(true, axis=0)) ** 0.5
    assert likeness(np.cov(true.T)) == pytest.approx(expected)


def test_scaled_patterns_are_alike_and_opposite_ones_are_not():
    profile = np.linspace(0.2, 0.6, 9)
    assert likeness(np.cov(np.outer(profile, [0.5, 1.0, 1.5]).T)) == pytest.approx(1)
    assert likeness(np.cov(np.outer(profile, [1.0, 1.0, 1.0, -1.0]).T)) < 0.8


@pytest.mark.parametrize("together", [0.0, 0.6])
def test_the_covariance_of_true_means_is_unbiased_also_where_images_move_all_columns(together):
    rng = np.random.default_rng(0)
    true = rng.normal(0.5, 0.1, (40, 5))
    centred = true - true.mean(axis=0)
    found = [pattern_covariance(*made(true, 10, 0.2, together, seed)[:2]) for seed in range(300)]
    np.testing.assert_allclose(np.mean(found, axis=0), centred.T @ centred / 40, atol=5e-4)


def test_limits_cover_the_truth_for_identical_patterns():
    true = np.repeat(np.linspace(0.45, 0.55, 40)[:, None], 12, axis=1)
    samples = [made(true, 10, 0.08, 0.3, seed) for seed in range(60)]
    correlations, intervals = zip(*(pattern_correlation(*sample) for sample in samples), strict=True)
    assert np.mean([high >= 0.999 for _, high in intervals]) > 0.9
    assert np.mean(correlations) == pytest.approx(1, abs=0.02)
    assert np.median([pattern_scale(*sample)[0] for sample in samples]) < 0.03


def test_the_scale_is_that_of_true_patterns_whatever_the_number_of_images():
    scales = np.exp(np.linspace(-0.2, 0.2, 15))
    true = np.outer(np.linspace(0.2, 0.6, 40), scales)
    expected = 1.96 * np.std(scales, ddof=1)
    for images in (6, 60):
        found = [pattern_scale(*made(true, images, 0.3, 0.5, seed))[0] for seed in range(40)]
        assert np.mean(found) == pytest.approx(expected, rel=0.1)
