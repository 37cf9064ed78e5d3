"""What findings rest on, against the numbers that the recording was made with."""

import numpy as np
import pytest

from se_probe.analysis.findings.evidence import read_evidence
from se_probe.analysis.stats.states import STATIC_SD
from tests.analysis.findings.networks import recording, sites
from tests.analysis.raw_recording import mixed_recording


def test_stages_are_halved_and_the_middle_one_is_late():
    evidence = read_evidence(recording(places=sites((2, 3, 4, 5, 5))), None)
    assert [site.name for site in evidence.early] == ["SE_2_1", "SE_3_1"]
    assert [site.name for site in evidence.late] == ["SE_4_1", "SE_5_1", "SE_5_2"]
    assert [site.name for site in evidence.last_stage] == ["SE_5_1", "SE_5_2"]
    three = read_evidence(recording(places=sites((3, 4, 5))), None)
    assert [site.name for site in three.late] == ["SE_4_1", "SE_5_1"]


def test_only_classes_with_five_images_count_and_only_those_with_two_tell_of_movement():
    made = recording(classes=6, images=8)
    for site in made.raw.values():
        site["class3"], site["class4"], site["class5"] = site["class3"][:4], site["class4"][:2], site["class5"][:1]
    evidence = read_evidence(made, None)
    assert (evidence.classes, evidence.images) == (3, 3 * 8 + 4 + 2)
    assert evidence.chosen_images == (8, 8, 8)


@pytest.mark.parametrize(("classes", "images", "class_sd"), [(4, 30, 0.0), (12, 10, 0.015), (5, 8, 0.018)])
def test_limits_of_what_moves_hold_their_level_for_channels_at_the_bar(classes, images, class_sd):
    """A channel at the bar lies beyond either limit in 2.5 % of draws."""
    image_sd = np.sqrt(STATIC_SD**2 - class_sd**2)
    made = (recording(class_sd, image_sd, classes=classes, images=images, seed=seed) for seed in range(60))
    limits = [site.moving for one in made for site in read_evidence(one, None).sites]
    low, high = np.mean(limits, axis=0)
    assert low == pytest.approx(0.025, abs=0.025)
    assert high == pytest.approx(0.975, abs=0.025)


def test_images_of_one_class_tell_what_moves_and_not_what_is_still():
    """Gates that stay where they are within a class may differ between classes."""
    for image_sd, low in ((0.1, 1.0), (0.001, 0.0)):
        evidence = read_evidence(recording(0.0, image_sd, classes=1, images=40), None)
        assert {site.moving for site in evidence.sites} == {(low, 1.0)}


def test_dead_channels_are_counted_within_limits():
    by_name = {site.name: site for site in read_evidence(mixed_recording(), None).sites}
    assert by_name["SE_5_1"].dead == (2, 2)
    assert by_name["SE_2_1"].dead == (0, 0)
    assert by_name["SE_2_1"].moving == (1.0, 1.0)
    assert by_name["SE_3_1"].moving == (0.0, 0.0)
