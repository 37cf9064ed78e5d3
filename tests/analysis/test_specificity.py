"""Specificity and decodability tables: the kernels' numbers under the right names, and collapse that does not pass."""

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.specificity import channel_specificity, site_decodability, site_specificity
from se_probe.analysis.stats.decoding import decode
from tests.analysis.raw_recording import GateSite, RawRecording, mixed_recording

RECORDING = mixed_recording()


def many_classes(*, share=0.3, classes=20, images=30, channels=12):
    """One site of unbounded width, with `share` of the variance between classes."""
    rng = np.random.default_rng(4)
    means = 0.5 + 0.1 * np.sqrt(share) * rng.normal(size=(classes, channels))
    noise = 0.1 * np.sqrt(1 - share) * rng.normal(size=(classes, images, channels))
    raw = {f"c{k}": mean + own for k, (mean, own) in enumerate(zip(means, noise, strict=True))}
    return RawRecording([GateSite("SE_2_1", 2, 1, channels)], ["c0", "c1", "c2", "c3"], {"SE_2_1": raw})


def test_every_channel_has_a_row_with_its_own_test():
    table = channel_specificity(RECORDING, resamples=19)
    assert len(table) == 24
    for row in table.itertuples():
        raw = [gates.reshape(len(gates), -1) for gates in RECORDING.raw[row.site].values()]
        column = row.branch * (3 if row.site == "SK_4_1" else 6) + row.channel
        noise = np.mean([gates[:, column].var(ddof=1) / len(gates) for gates in raw])
        spread = np.var([gates[:, column].mean() for gates in raw], ddof=1)
        assert row.f == pytest.approx(spread / noise, rel=1e-6)
        best = np.argmax([gates[:, column].mean() for gates in raw])
        assert row.best_class == list(RECORDING.raw[row.site])[best]


def test_adjustment_is_within_a_site():
    table = channel_specificity(many_classes(), ["SE_2_1"], resamples=19)
    assert table[["p", "chosen_p"]].notna().all(axis=None)
    np.testing.assert_allclose(table["q"], stats.false_discovery_control(table["p"]))
    np.testing.assert_allclose(table["chosen_q"], stats.false_discovery_control(table["chosen_p"]))


def test_selectivity_has_what_chance_gives_beside_it():
    table = channel_specificity(many_classes(share=0.0), resamples=9)
    for name in ("selectivity", "d_prime"):
        assert table[name].mean() > 0
        assert table[f"{name}_null"].mean() == pytest.approx(table[name].mean(), rel=0.25)


def test_a_collapsed_site_has_the_same_shares_and_comes_out_as_collapsed():
    table = site_specificity(RECORDING, resamples=19).set_index("site")
    live, flat = table.loc["SE_2_1"], table.loc["SE_3_1"]
    assert flat["omega_squared"] == pytest.approx(live["omega_squared"], abs=0.02)
    assert (live["verdict"], flat["verdict"]) == ("live", "collapsed")
    assert live["between_class_sd"] == pytest.approx(1000 * flat["between_class_sd"], rel=0.02)
    assert flat["within_class_sd"] < 1e-3


def test_site_shares_cover_all_classes_or_the_chosen_ones():
    row = site_specificity(RECORDING, ["SE_2_1"], resamples=99).iloc[0]
    assert (row["classes"], row["images"]) == (6, 82)
    assert (row["chosen_classes"], row["chosen_images"]) == (3, 54)
    assert row["ci_low"] < row["omega_squared"] < row["ci_high"]
    assert row["chosen_ci_low"] < row["chosen_omega_squared"] < row["chosen_ci_high"]
    assert row["chosen_p"] == 0.01
    assert row["chosen_p_holm"] == 0.01
    # Of six classes the noise of the means is never spread widely enough.
    assert row["judged_share"] == 0
    assert np.isnan(row["significant_share"])
    raw = RECORDING.raw["SE_2_1"]
    within = np.mean([gates.var(axis=0, ddof=1) for gates in raw.values()], axis=0)
    noise = np.mean([gates.var(axis=0, ddof=1) / len(gates) for gates in raw.values()], axis=0)
    between = np.var([gates.mean(axis=0) for gates in raw.values()], axis=0) - 5 / 6 * noise
    assert row["omega_squared"] == pytest.approx(between.sum() / (between + within).sum(), rel=1e-9)


def test_the_order_of_classes_does_not_matter():
    turned = {site: dict(reversed(raw.items())) for site, raw in RECORDING.raw.items()}
    other = RawRecording(RECORDING.sites, RECORDING.chosen, turned)
    columns = ["omega_squared", "ci_low", "ci_high", "significant_share", "chosen_omega_squared"]
    first, second = (site_specificity(r, resamples=9)[columns] for r in (RECORDING, other))
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_data_that_cannot_tell_give_nan():
    raw = {"SE_2_1": {"pug": np.random.default_rng(0).uniform(size=(5, 6))}}
    row = site_specificity(RawRecording(RECORDING.sites[:1], ["pug"], raw), resamples=9).iloc[0]
    assert row[["omega_squared", "ci_low", "ci_high", "significant_share", "chosen_omega_squared"]].isna().all()
    assert np.isnan(row["chosen_p"])


def test_with_one_chosen_class_there_is_no_p_value():
    recording = many_classes()
    recording.chosen = ["c0"]
    table = channel_specificity(recording, resamples=19)
    assert table[["chosen_p", "chosen_q"]].isna().all(axis=None)
    assert table["p"].notna().all()
    assert np.isnan(site_specificity(recording, resamples=19)["chosen_p"].iloc[0])


def test_most_channels_of_many_classes_are_judged_and_found():
    row = site_specificity(many_classes(), resamples=19).iloc[0]
    assert (row["judged_share"], row["significant_share"]) == (1, 1)
    assert site_specificity(many_classes(share=0.0), resamples=19)["significant_share"].iloc[0] == 0


def test_spreads_and_share_are_one_thing():
    """ω² is the share of K classes, of a population with the spread between classes of the row."""
    row = site_specificity(many_classes(), resamples=19).iloc[0]
    between = row["between_class_sd"] ** 2 * 19 / 20
    assert row["omega_squared"] == pytest.approx(between / (between + row["within_class_sd"] ** 2), rel=1e-9)


def test_the_share_of_few_classes_has_that_of_as_many_random_ones_to_compare_with():
    recording = many_classes(classes=40)
    found = []
    for start in range(0, 40, 4):
        recording.chosen = [f"c{k}" for k in range(start, start + 4)]
        found.append(site_specificity(recording, resamples=3).iloc[0])
    of_four = np.mean([row["chosen_omega_squared"] for row in found])
    assert found[0]["random_omega_squared"] == pytest.approx(of_four, abs=0.01)
    assert found[0]["omega_squared"] > of_four + 0.02


def test_rows_are_decoding_of_the_chosen_classes():
    table = site_decodability(RECORDING, ["SK_4_1", "SE_2_1"], repeats=1).set_index("site")
    gates = RECORDING.gates("SK_4_1")
    labels = np.array([RECORDING.chosen.index(name) for name in gates["class"].values])
    expected = decode(gates.values.reshape(len(labels), -1), labels, repeats=1)
    row = table.loc["SK_4_1"]
    assert row[["accuracy", "ci_low", "ci_high"]].tolist() == [expected.accuracy, expected.low, expected.high]
    assert row["chance"] == pytest.approx(1 / 3)
    assert (row["chosen_classes"], row["chosen_images"], row["test_folds"]) == (3, 54, 5)


def test_a_collapsed_site_is_decoded_as_well_and_says_that_it_is_collapsed():
    table = site_decodability(RECORDING, ["SE_2_1", "SE_3_1"]).set_index("site")
    assert table.loc["SE_3_1", "ci_low"] > table.loc["SE_3_1", "chance"]
    assert table.loc["SE_3_1", "accuracy"] == pytest.approx(table.loc["SE_2_1", "accuracy"], abs=0.05)
    assert table.loc["SE_3_1", "verdict"] == "collapsed"
    assert table.loc["SE_3_1", "within_class_sd"] < 1e-3


def test_one_class_cannot_be_decoded():
    recording = RawRecording(RECORDING.sites, ["pug"], RECORDING.raw)
    row = site_decodability(recording, ["SE_2_1"]).iloc[0]
    assert row[["accuracy", "ci_low", "ci_high"]].isna().all()
    assert row["test_folds"] == 0
