"""Split attention, its entropy and its cardinal groups, with known truth."""

import re

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.branches import branch_tables, cardinal_groups, split_attention, split_entropy
from se_probe.errors import SeProbeError
from tests.analysis.image_recording import ImageRecording
from tests.analysis.raw_recording import GateSite

LABELS = ["pug"] * 30 + ["cliff"] * 20 + ["tabby"] * 30
SOFTMAX = "softmax over branches"


def recording(site, raw):
    return ImageRecording([site], LABELS, {site.name: raw})


def split_site(branches=2, channels=8):
    return GateSite("SA_2_1", 2, 1, channels, branches, SOFTMAX, family="split attention")


def shares(rng, images, branches, channels):
    weights = rng.uniform(0.1, 1, (images, branches, channels))
    return weights / weights.sum(axis=1, keepdims=True)


def test_attention_by_split_weighs_classes_the_same():
    raw = shares(np.random.default_rng(0), 80, 3, 8)
    table = split_attention(recording(split_site(3), raw))
    means = np.mean([raw[:30].mean(0), raw[30:50].mean(0), raw[50:].mean(0)], axis=0)
    np.testing.assert_allclose(table["mean"], means.mean(axis=1), rtol=1e-12)
    assert table["mean"].sum() == pytest.approx(1)
    np.testing.assert_allclose(table["channel_sd"], means.std(axis=1, ddof=1), rtol=1e-12)
    assert table["branch"].tolist() == [0, 1, 2]


def test_entropy_of_even_one_sided_and_image_dependent_choices():
    even = np.full((80, 2, 8), 0.5)
    one_sided = np.stack([np.ones((80, 8)), np.zeros((80, 8))], axis=1)
    turning = one_sided.copy()
    turning[::2] = turning[::2, ::-1]
    columns = ["entropy", "entropy_sd", "entropy_of_mean"]
    rows = [split_entropy(recording(split_site(), raw))[columns].iloc[0] for raw in (even, one_sided, turning)]
    np.testing.assert_allclose(rows, [[1, 0, 1], [0, 0, 0], [0, 0, 1]], atol=1e-12)


def test_entropy_is_a_share_of_its_maximum():
    raw = np.broadcast_to(np.array([0.5, 0.25, 0.25])[None, :, None], (80, 3, 8))
    row = split_entropy(recording(split_site(3), raw)).iloc[0]
    assert row["entropy"] == pytest.approx(1.5 * np.log(2) / np.log(3))


def test_a_radix_of_one_is_a_sigmoid():
    site = GateSite("SA_2_1", 2, 1, 8, 1, "sigmoid", family="split attention")
    raw = np.random.default_rng(1).uniform(0.6, 0.8, (80, 8))
    attention = split_attention(recording(site, raw))
    assert attention[["branches", "branch", "activation"]].to_numpy().tolist() == [[1, 0, "sigmoid"]]
    assert 0.65 < attention["mean"].iloc[0] < 0.75
    assert split_entropy(recording(site, raw))[["entropy", "entropy_sd", "entropy_of_mean"]].isna().all(axis=None)
    groups = cardinal_groups(recording(site, raw), {"SA_2_1": 2})
    assert groups[["branch", "group"]].to_numpy().tolist() == [[0, 0], [0, 1]]


def test_branches_that_do_not_share_one_have_no_entropy():
    site = GateSite("SA_2_1", 2, 1, 8, 2, "sigmoid", family="split attention")
    raw = np.random.default_rng(1).uniform(0.6, 0.8, (80, 2, 8))
    assert np.isnan(split_entropy(recording(site, raw))["entropy"].iloc[0])


def test_class_dependence_is_found_in_the_group_that_has_it():
    """Channels 4 to 7 follow the class with a standard deviation of 0.1, all follow the image with 0.05."""
    rng = np.random.default_rng(2)
    offsets = np.array([-np.sqrt(1.5), 0, np.sqrt(1.5)]) * 0.1  # of standard deviation 0.1 over these classes
    number = np.array([["pug", "cliff", "tabby"].index(name) for name in LABELS])
    second = 0.5 + rng.normal(0, 0.05, (80, 8))
    second[:, 4:] += offsets[number][:, None]
    table = cardinal_groups(recording(split_site(), np.stack([1 - second, second], axis=1)), {"SA_2_1": 2})
    assert table[["branch", "group"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert table["channels"].tolist() == [4] * 4
    assert table["groups_known"].all()
    # Of a population of which these three are a draw: √(3/2) of their own.
    np.testing.assert_allclose(table["between_class_sd"], np.sqrt(1.5) * np.array([0, 0.1, 0, 0.1]), atol=0.012)
    np.testing.assert_allclose(table["within_class_sd"], 0.05, rtol=0.15)
    np.testing.assert_allclose(table["omega_squared"], [0, 0.8, 0, 0.8], atol=0.06)


def test_unknown_cardinality_is_one_group_and_said_so():
    table = cardinal_groups(recording(split_site(), shares(np.random.default_rng(3), 80, 2, 8)))
    assert table[["groups", "groups_known", "channels"]].to_numpy().tolist() == [[1, False, 8]] * 2


@pytest.mark.parametrize("groups", [3, 0])
def test_groups_must_divide_the_channels(groups):
    message = (
        f"SA_2_1 has 8 channels, which do not divide into {groups} cardinal groups; "
        "expected a divisor of the number of channels."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        cardinal_groups(recording(split_site(), shares(np.random.default_rng(3), 80, 2, 8)), {"SA_2_1": groups})


def test_tables_have_the_names_of_their_files():
    run = recording(split_site(), shares(np.random.default_rng(3), 80, 2, 8))
    tables = branch_tables(run)
    assert list(tables) == ["split_attention.csv", "split_entropy.csv", "cardinal_groups.csv"]
    pd.testing.assert_frame_equal(tables["split_attention.csv"], split_attention(run))
