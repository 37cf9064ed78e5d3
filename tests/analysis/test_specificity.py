"""Specificity tables: the kernels' numbers under the right names, and collapse that does not pass for it."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.specificity import channel_specificity, site_specificity
from tests.analysis.raw_recording import RawRecording, mixed_recording

RECORDING = mixed_recording()


def test_every_channel_has_a_row_with_its_own_test():
    table = channel_specificity(RECORDING, permutations=19)
    assert len(table) == 24
    for row in table.itertuples():
        raw = [gates.reshape(len(gates), -1) for gates in RECORDING.raw[row.site].values()]
        column = row.branch * (3 if row.site == "SK_4_1" else 6) + row.channel
        assert row.f == pytest.approx(stats.f_oneway(*[gates[:, column] for gates in raw]).statistic, rel=1e-6)
        best = np.argmax([gates[:, column].mean() for gates in raw])
        assert row.best_class == list(RECORDING.raw[row.site])[best]


def test_adjustment_is_within_a_site():
    table = channel_specificity(RECORDING, ["SE_2_1"], permutations=19)
    np.testing.assert_allclose(table["q"], stats.false_discovery_control(table["p"]))
    np.testing.assert_allclose(table["q_permutation"], stats.false_discovery_control(table["p_permutation"]))


def test_a_collapsed_site_has_the_same_shares_and_comes_out_as_collapsed():
    table = site_specificity(RECORDING, permutations=19, resamples=19).set_index("site")
    live, flat = table.loc["SE_2_1"], table.loc["SE_3_1"]
    assert flat["omega_squared"] == pytest.approx(live["omega_squared"], abs=0.02)
    assert (live["verdict"], flat["verdict"]) == ("live", "collapsed")
    assert live["between_class_sd"] == pytest.approx(1000 * flat["between_class_sd"], rel=0.02)
    assert flat["within_class_sd"] < 1e-3


def test_site_shares_cover_all_classes_or_the_chosen_ones():
    row = site_specificity(RECORDING, ["SE_2_1"], permutations=99, resamples=99).iloc[0]
    assert (row["classes"], row["images"]) == (6, 82)
    assert (row["chosen_classes"], row["chosen_images"]) == (3, 54)
    assert row["ci_low"] < row["omega_squared"] < row["ci_high"]
    assert row["chosen_ci_low"] < row["chosen_omega_squared"] < row["chosen_ci_high"]
    assert row["chosen_p"] == 0.01
    assert row["significant_share"] == 1
    raw = RECORDING.raw["SE_2_1"]
    within = np.mean([gates.var(axis=0, ddof=1) for gates in raw.values()], axis=0)
    noise = np.mean([gates.var(axis=0, ddof=1) / len(gates) for gates in raw.values()], axis=0)
    between = np.var([gates.mean(axis=0) for gates in raw.values()], axis=0) - 5 / 6 * noise
    assert row["omega_squared"] == pytest.approx(between.sum() / (between + within).sum(), rel=1e-9)


def test_the_order_of_classes_does_not_matter():
    turned = {site: dict(reversed(raw.items())) for site, raw in RECORDING.raw.items()}
    other = RawRecording(RECORDING.sites, RECORDING.chosen, turned)
    columns = ["omega_squared", "ci_low", "ci_high", "significant_share", "chosen_omega_squared"]
    first, second = (site_specificity(r, permutations=1, resamples=9)[columns] for r in (RECORDING, other))
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_data_that_cannot_tell_give_nan():
    raw = {"SE_2_1": {"pug": np.random.default_rng(0).uniform(size=(5, 6))}}
    row = site_specificity(RawRecording(RECORDING.sites[:1], ["pug"], raw), permutations=9, resamples=9).iloc[0]
    assert row[["omega_squared", "ci_low", "ci_high", "significant_share", "chosen_omega_squared"]].isna().all()
    assert row["chosen_p"] == 1
