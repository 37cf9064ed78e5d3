"""What users ask: collapsed, saturated, dead and constant gates, and attention over branches."""

import numpy as np
import pytest

from se_probe.analysis.findings.evidence import read_evidence
from se_probe.analysis.findings.health import branches_choose, gates_alive, nearly_constant, no_dead_channels
from tests.analysis.findings.networks import recording, sites
from tests.analysis.raw_recording import GateSite, RawRecording, mixed_recording

LIVE = read_evidence(recording(), None)
COLLAPSED = read_evidence(recording(0.0, 0.001, level=0.65, profile=0.0), None)
MIXED = read_evidence(mixed_recording(), None)


def test_live_gates_are_alive():
    finding = gates_alive(LIVE)
    assert (finding.verdict, finding.value, len(finding.sites)) == ("supported", 1, 8)


def test_collapsed_gates_are_named_with_level_and_spread():
    finding = gates_alive(COLLAPSED)
    assert (finding.verdict, finding.value, len(finding.sites)) == ("not supported", 0, 8)
    assert "Collapsed: SE_2_1 to SE_5_2 (8 sites), mean gate 0.650" in finding.statement
    assert "Weight decay" in finding.remedy
    assert finding.next_command == "fold"


def test_every_kind_of_still_site_is_told_apart():
    finding = gates_alive(MIXED)
    assert finding.sites == ("SE_3_1", "SE_5_1")
    assert "Collapsed: SE_3_1," in finding.statement
    assert "Saturated: SE_5_1," in finding.statement


@pytest.mark.parametrize(("classes", "images"), [(8, 1), (1, 2), (1, 19)])
def test_few_images_tell_nothing(classes, images):
    evidence = read_evidence(recording(classes=classes, images=images), None)
    for judge in (gates_alive, no_dead_channels, nearly_constant):
        finding = judge(evidence)
        assert (finding.verdict, finding.value) == ("cannot be judged", None)
        assert f"{images if images > 1 else 0} images" in finding.statement
        assert "20 are needed" in finding.statement
        assert finding.next_command == "excite --per-class 50"


def _alive_verdicts(image_sd, classes, images, seeds):
    made = (recording(0.0, image_sd, classes=classes, images=images, seed=seed) for seed in range(seeds))
    return [gates_alive(read_evidence(one, None)).verdict for one in made]


@pytest.mark.parametrize(("classes", "images"), [(3, 10), (10, 20)])
@pytest.mark.parametrize(("image_sd", "wrong"), [(0.04, "not supported"), (0.01, "supported")])
def test_more_images_never_turn_live_into_still_or_back(classes, images, image_sd, wrong):
    assert _alive_verdicts(image_sd, classes, images, 20).count(wrong) == 0


def test_few_images_leave_sites_open_and_say_so():
    finding = gates_alive(read_evidence(recording(0.0, 0.02, classes=3, images=8), None))
    assert finding.verdict == "cannot be judged"
    assert "open: " in finding.result
    assert finding.next_command == "excite --reference-per-class 50"
    for text in (finding.statement, finding.news):
        assert "not settled" in text
        assert "24 images of 3 classes" in text


def test_gates_at_the_bar_stay_undecided_whatever_the_number_of_images():
    for images in (10, 40):
        verdicts = _alive_verdicts([0.08] * 7 + [0.0185], 4, images, 20)
        assert verdicts.count("not supported") <= 1


def test_dead_channels_are_counted():
    finding = no_dead_channels(MIXED)
    assert (finding.verdict, finding.sites) == ("not supported", ("SE_5_1",))
    assert finding.value == pytest.approx(2 / 18)
    assert finding.statement.startswith("2 of 18 channels have a mean gate of 0.05 or less")
    assert (finding.title, finding.result) == ("Dead channels", "2 of 18, most at SE_5_1")
    live = no_dead_channels(LIVE)
    assert (live.verdict, live.result) == ("supported", "0 of 96")
    assert no_dead_channels(read_evidence(recording(places=sites(bounded=False)), None)) is None


def test_sites_close_to_constant_are_named():
    spread = [0.08] * 8
    spread[5] = 0.002
    finding = nearly_constant(read_evidence(recording(0.0, spread), None))
    assert (finding.verdict, finding.sites, finding.value) == ("supported", ("SE_4_2",), 1 / 8)
    assert nearly_constant(LIVE).verdict == "not supported"


def _attention(share, noise, images=20):
    """Two branches, the second with this share of the attention."""
    rng = np.random.default_rng(0)
    raw = {}
    for name in ("pug", "goldfish", "cliff", "tabby"):
        second = np.clip(share + noise * rng.normal(size=(images, 3)), 0.001, 0.999)
        raw[name] = np.stack([1 - second, second], axis=1)
    site = GateSite("SK_2_1", 2, 1, 3, branches=2, family="SK", activation="softmax")
    return branches_choose(read_evidence(RawRecording([site], ["pug", "goldfish"], {"SK_2_1": raw}), None))


@pytest.mark.parametrize(
    ("share", "noise", "verdict", "words"),
    [
        (0.5, 0.2, "supported", "1 is an even split, 0 one branch alone."),
        (0.5, 0.005, "not supported", "Attention is even at SK_2_1."),
        (0.98, 0.005, "not supported", "Attention is all on one branch at SK_2_1."),
        (0.75, 0.005, "not supported", "Attention is the same for every image at SK_2_1."),
    ],
)
def test_attention_chooses_only_where_it_moves_between_even_and_one_branch(share, noise, verdict, words):
    finding = _attention(share, noise)
    assert finding.verdict == verdict
    assert finding.statement.endswith(words)


def test_gates_without_branches_have_no_such_finding():
    assert branches_choose(LIVE) is None


def test_attention_of_one_image_a_class_is_not_judged():
    finding = _attention(0.5, 0.005, images=1)
    assert (finding.verdict, finding.value, finding.sites) == ("cannot be judged", None, ("SK_2_1",))
    assert "20 are needed" in finding.statement
