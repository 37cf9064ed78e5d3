"""Decodability tables: chance, certainty, and the spread beside them."""

import numpy as np
import pytest

from se_probe.analysis.specificity import site_decodability
from se_probe.analysis.stats.decoding import decode
from tests.analysis.raw_recording import RawRecording, mixed_recording

RECORDING = mixed_recording()


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
