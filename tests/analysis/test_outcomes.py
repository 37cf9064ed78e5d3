"""Changes of single images, and when there are limits."""

import numpy as np
import pytest

from se_probe.analysis.outcomes import estimate, outcome_changes
from se_probe.analysis.stats.paired import Strata, flip_interval, paired_interval, share_interval, studentized_interval
from tests.analysis.ablated import planted

MADE = planted({"SE_2_1": 0.2, "SE_3_1": 0.1}, classes=3, images=8)
CHANGES = outcome_changes(MADE)


def test_changes_are_those_of_each_image():
    outcomes = MADE.outcomes
    for name in ("top1", "top5", "nll"):
        expected = outcomes[name].to_numpy() * 1.0 - outcomes[f"clean_{name}"].to_numpy() * 1.0
        np.testing.assert_array_equal(CHANGES.values[name], expected.T)
    np.testing.assert_array_equal(CHANGES.values["kl"], outcomes["kl"].to_numpy().T)
    np.testing.assert_array_equal(CHANGES.values["agreement"], outcomes["agree"].to_numpy().T)
    assert CHANGES.classes == ["class0", "class1", "class2"]
    assert CHANGES.interventions.columns.tolist() == ["intervention", "scope", "sites", "replacement"]


def test_two_interventions_are_compared_image_by_image():
    found = CHANGES.difference("top1", 1, 0)
    top1 = MADE.outcomes["top1"].to_numpy() * 1.0
    np.testing.assert_allclose(np.concatenate(found.groups)[:, 0], top1[1] - top1[0])
    assert [len(group) for group in found.groups] == [8, 8, 8]


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("top1", flip_interval),
        ("top5", flip_interval),
        ("nll", paired_interval),
        ("kl", studentized_interval),
        ("agreement", share_interval),
    ],
)
def test_each_measure_has_its_estimator(name, interval):
    for place, images in ((None, slice(None)), (1, slice(8, 16))):
        values = CHANGES.values[name][images]
        expected = interval(Strata(tuple(np.split(values, len(values) // 8)), "image"))
        found = estimate(CHANGES, name, place)
        np.testing.assert_allclose(found.estimate, expected.estimate)
        np.testing.assert_allclose(found.low, np.maximum(expected.low, 0) if name == "kl" else expected.low)
        np.testing.assert_allclose(found.high, expected.high)


def test_clean_means_weigh_classes_alike():
    clean = MADE.outcomes["clean_nll"].to_numpy()
    assert CHANGES.clean_mean("nll", 2) == pytest.approx(clean[16:].mean())
    assert CHANGES.clean_mean("nll") == pytest.approx(clean.reshape(3, 8).mean(axis=1).mean())
