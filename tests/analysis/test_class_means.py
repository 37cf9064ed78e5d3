"""Means by class and channel keep their values, and clustering only puts them in order."""

import numpy as np
import pytest

from se_probe.analysis.class_means import clustered_class_means, pair_table
from se_probe.analysis.similarity import class_similarity, cluster_classes
from se_probe.errors import SeProbeError
from tests.analysis.raw_recording import GateSite, RawRecording, mixed_recording

RECORDING = mixed_recording()


def test_every_mean_is_that_of_its_class_branch_and_channel():
    table = clustered_class_means(RECORDING, "SK_4_1")
    assert len(table) == 6 * 2 * 3
    for row in table.rename(columns={"class": "name"}).itertuples():
        assert row.mean == pytest.approx(RECORDING.raw["SK_4_1"][row.name][:, row.branch, row.channel].mean())


def test_places_are_a_permutation_and_belong_to_class_and_channel():
    table = clustered_class_means(RECORDING, "SE_2_1", ["pug", "cliff", "tabby"])
    assert sorted(table.drop_duplicates("class")["row"]) == [0, 1, 2]
    assert sorted(table.drop_duplicates("channel")["column"]) == list(range(6))
    assert (table.groupby("class")["row"].nunique() == 1).all()
    assert (table.groupby("channel")["column"].nunique() == 1).all()


def test_like_lies_beside_like():
    rng = np.random.default_rng(0)
    kinds = {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0}
    levels = np.array([[0.2, 0.8, 0.2, 0.8], [0.9, 0.1, 0.9, 0.1]])
    raw = {name: levels[kind] + 0.001 * rng.normal(size=(4, 4)) for name, kind in kinds.items()}
    recording = RawRecording([GateSite("SE_2_1", 2, 1, 4)], ["a"], {"SE_2_1": raw})
    table = clustered_class_means(recording, "SE_2_1")
    rows = table.drop_duplicates("row").sort_values("row")["class"].map(kinds).to_numpy()
    assert np.count_nonzero(np.diff(rows)) == 1
    columns = table.drop_duplicates("column").sort_values("column")["channel"].to_numpy() % 2
    assert np.count_nonzero(np.diff(columns)) == 1


def test_channels_are_sampled_and_one_class_is_enough():
    table = clustered_class_means(RECORDING, "SE_2_1", ["pug"], channels=4)
    assert len(table) == 4
    assert set(table["row"]) == {0}
    assert set(table["site_channels"]) == {6}


def test_pairs_have_the_matrix_entries_and_the_places_of_the_leaves():
    similarity = class_similarity(RECORDING, "SE_2_1")
    clustering = cluster_classes(similarity)
    table = pair_table(similarity, clustering)
    assert len(table) == 36
    names = similarity["class"].to_numpy()
    for row in table.to_dict("records"):
        assert names[clustering.order[row["row"]]] == row["class"]
        assert names[clustering.order[row["column"]]] == row["other"]
        pair = {"class": row["class"], "other": row["other"]}
        assert row["distance"] == similarity["distance"].sel(pair).item()


def test_unknown_site():
    with pytest.raises(
        SeProbeError, match=r"^no site is called 'SE_9_9'; choose among SE_2_1, SE_3_1, SK_4_1, SE_5_1$"
    ):
        clustered_class_means(RECORDING, "SE_9_9")
