"""Shifts under change against plain arithmetic on the raw arrays."""

import re

import numpy as np
import pytest
from scipy import stats

from se_probe.analysis.change import (
    change_accuracy,
    change_channels,
    change_detection,
    change_sentences,
    change_sites,
)
from se_probe.errors import SeProbeError
from tests.analysis.image_recording import LABELS, changed_recordings

ALTERNATING = np.array([0.05, -0.05] * 3)
RUNS = changed_recordings({"noise 1": 0.0, "noise 3": ALTERNATING, "blur 2": 0.05})
CHOSEN = 26  # pugs and cliffs; tabbies are reference


def raw(label, site="SE_2_1"):
    return RUNS[label].raw[site][:CHOSEN]


def by_class(values):
    return (values[:14].mean(axis=0) + values[14:].mean(axis=0)) / 2


def test_shift_is_the_mean_absolute_difference_in_gate_units_and_in_sd():
    table = change_sites(RUNS)
    assert table[["condition", "change", "strength"]].drop_duplicates().to_numpy().tolist() == [
        ["noise 1", "noise", 1.0],
        ["noise 3", "noise", 3.0],
        ["blur 2", "blur", 2.0],
    ]
    for row in table.to_dict("records"):
        before, after = raw("plain", row["site"]), raw(row["condition"], row["site"])
        moved = by_class(np.abs(after - before).mean(axis=1))
        sd = np.sqrt(before.var(axis=0, ddof=1).mean())
        assert row["moved"] == pytest.approx(moved)
        assert row["moved_ci_low"] < moved < row["moved_ci_high"]
        assert row["moved_sd"] == pytest.approx(moved / sd)
        assert row["images"] == CHOSEN
        assert row["effect"] == pytest.approx(by_class((after - before).mean(axis=1)))
    assert table["depth"].tolist() == [0, 1] * 3


def test_patterns_that_move_are_found_even_where_their_mean_does_not():
    table = change_sites(RUNS).set_index(["condition", "site"])
    assert table.loc[("noise 3", "SE_2_1"), "pattern"] == "moves"
    assert table.loc[("noise 3", "SE_2_1"), "verdict"] in ("no shift found", "stays (within 0.001)")
    assert table.loc[("blur 2", "SE_2_1"), "verdict"] == "opens"
    still = table.drop(index=[("noise 3", "SE_2_1"), ("blur 2", "SE_2_1")])
    assert set(still["pattern"]) == {"no shift found"}
    # Holm over the two sites of a change.
    for _, rows in table.groupby("condition"):
        low, high = sorted(rows["pattern_p"])
        assert sorted(rows["pattern_p_holm"]) == pytest.approx([min(2 * low, 1), max(min(2 * low, 1), high)])


def test_too_few_images_cannot_be_judged():
    few = changed_recordings({"blur 2": 0.3}, labels=["pug"] * 2 + ["cliff"] * 2, reference=())
    assert change_sites(few)["pattern"].tolist() == ["cannot be judged"] * 2


def test_channels_have_their_mean_difference_and_normal_limits():
    table = change_channels(RUNS)
    assert len(table) == 3 * (6 + 4)
    rows = table[(table["condition"] == "noise 3") & (table["site"] == "SE_2_1")]
    difference = raw("noise 3") - raw("plain")
    error = np.sqrt(difference[:14].var(axis=0, ddof=1) / 14 + difference[14:].var(axis=0, ddof=1) / 12) / 2
    np.testing.assert_allclose(rows["shift"], by_class(difference))
    np.testing.assert_allclose(rows["ci_high"] - rows["shift"], stats.norm.ppf(0.975) * error)
    np.testing.assert_allclose(rows["shift_sd"], by_class(difference) / raw("plain").std(axis=0, ddof=1))
    assert rows["channel"].tolist() == list(range(6))


def test_accuracy_is_paired_and_corrected_over_changes():
    runs = changed_recordings({"noise 1": 0.0, "noise 3": 0.0})
    own = np.array([0] * 14 + [1] * 12 + [2] * 6)
    wrong = own.copy()
    wrong[:7] = 2  # half of the pugs
    runs["noise 3"].said = wrong
    table = change_accuracy(runs).set_index("condition")
    assert table["labelled"].tolist() == [26, 26]
    assert table["plain_top1"].tolist() == [1, 1]
    assert table["top1"].tolist() == [1, 0.75]
    assert table["agreement"].tolist() == [1, 0.75]
    assert table["top1_change"].tolist() == [0, -0.25]
    assert table.loc["noise 3", "top1_ci_high"] < 0
    # Seven images fall and none rises: 2 of 2⁷ patterns of signs are as extreme, up to the error of 9,999 drawn ones.
    assert table.loc["noise 3", "p"] == pytest.approx(2 / 2**7, abs=0.006)
    np.testing.assert_allclose(table["p_holm"], [1, 2 * table.loc["noise 3", "p"]])


def test_accuracy_of_a_network_without_labels_is_unknown():
    runs = changed_recordings({"noise 1": 0.0})
    for run in runs.values():
        run.said = np.full(len(LABELS), -1)
    table = change_accuracy(runs)
    assert table["labelled"].tolist() == [0]
    assert table[["top1", "agreement", "p_holm"]].isna().all().all()


def energies(values):
    return {key: RUNS["plain"].images.set_index("path")["probability"] * 0 + value for key, value in values.items()}


def test_gates_that_leave_their_classes_are_told_from_plain_ones():
    """The AUC of gates against distances computed image by image, of all sites and of each."""
    runs = changed_recordings({"noise 3": 0.6, "noise 1": 0.0})
    table = change_detection(runs, energies({"plain": -1.0, "noise 1": -1.0, "noise 3": -5.0}))
    whole = table[table["site"] == "all sites"].set_index(["condition", "score"])
    assert set(table["score"]) == {"gates", "pooled features", "softmax", "energy"}
    assert whole.loc[("noise 3", "gates"), "auc"] > 0.95
    assert whole.loc[("noise 3", "energy"), "auc"] == 0
    assert whole.loc[("noise 3", "softmax"), "auc"] == pytest.approx(0.5)
    assert whole.loc[("noise 3", "gates"), "minus_energy"] == whole.loc[("noise 3", "gates"), "auc"]
    assert abs(whole.loc[("noise 1", "gates"), "auc"] - 0.5) < 0.15
    sites = table[(table["score"] == "gates") & (table["condition"] == "noise 3")].set_index("site")
    assert sites.loc["SE_2_1", "auc"] > 0.95
    assert abs(sites.loc["SE_3_1", "auc"] - 0.5) < 0.15
    assert table.loc[table["score"] != "gates", "minus_energy"].isna().all()
    expected = _areas(runs)
    assert sites.loc["SE_2_1", "auc"] == pytest.approx(expected)


def _areas(runs):
    """Independent: distances of single images to class means without them, at SE_2_1, and all pairs."""
    labels = np.array(LABELS)
    before, after = (runs[key].raw["SE_2_1"] for key in ("plain", "noise 3"))
    scores = []
    for values in (before, after):
        distances = []
        for image in range(CHOSEN):
            rest = np.arange(len(labels)) != image
            groups = [before[rest & (labels == name)] for name in ("pug", "cliff", "tabby")]
            m2 = sum(((group - group.mean(axis=0)) ** 2).sum(axis=0) for group in groups)
            variance = m2 / (rest.sum() - 3)
            distances.append(min(np.sum((values[image] - group.mean(axis=0)) ** 2 / variance) for group in groups))
        scores.append(np.array(distances))
    pairs = [scores[1][i] > scores[0][j] for i in range(CHOSEN) for j in range(CHOSEN) if i != j]
    return np.mean(pairs)


def test_three_sentences_say_what_the_tables_say():
    sites, accuracy = change_sites(RUNS), change_accuracy(RUNS)
    detection = change_detection(RUNS, energies(dict.fromkeys(RUNS, -1.0)))
    moved, lost, told = change_sentences(sites, accuracy, detection)
    most = sites.groupby("condition")["moved_sd"].mean()
    assert f"most under {most.idxmax()}, by {most.max():.2f}" in moved
    assert f"least under noise 1, by {most['noise 1']:.2f} (at 0 of 2)" in moved
    assert lost.startswith("Accuracy changes under 0 of 3 changes (Holm)")
    gates = detection[(detection["score"] == "gates") & (detection["site"] == "all sites")]
    assert f"under {(gates['auc_ci_low'] > 0.5).sum()} of 3 changes" in told


def test_one_change_is_not_compared_with_itself():
    runs = {name: RUNS[name] for name in list(RUNS)[:2]}
    detection = change_detection(runs, energies(dict.fromkeys(runs, -1.0)))
    moved, _, told = change_sentences(change_sites(runs), change_accuracy(runs), detection)
    assert moved.startswith("Gates move under ")
    assert "least" not in moved
    assert told.split(";")[0].count(" under ") == 2


def test_no_common_image_is_an_error():
    runs = changed_recordings({"noise 1": 0.0})
    runs["noise 1"].paths = [f"other/{place}" for place in range(len(LABELS))]
    message = (
        "no image is in the recordings of all 2 changes; expected the same images at each, record them in one run of "
        "se-probe change."
    )
    with pytest.raises(SeProbeError, match=f"^{re.escape(message)}$"):
        change_sites(runs)
