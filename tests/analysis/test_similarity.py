"""Similarity of classes with labels, and agreement with a hierarchy that is known to be the truth."""

import numpy as np
import pytest

from se_probe.analysis.similarity import (
    class_similarity,
    cluster_classes,
    clustered_class_means,
    pair_table,
    site_similarity,
)
from se_probe.errors import SeProbeError
from tests.analysis.raw_recording import COUNTS, SITES, WNIDS, GateSite, RawRecording, mixed_recording

RECORDING = mixed_recording()
PATHS = {
    "goldfish": ("entity", "animal", "fish", "goldfish"),
    "pug": ("entity", "animal", "mammal", "pug"),
    "tabby": ("entity", "animal", "mammal", "tabby"),
    "banana": ("entity", "thing", "banana"),
    "cliff": ("entity", "thing", "place", "cliff"),
    "airliner": ("entity", "thing", "place", "airliner"),
}


def gated_by_path(paths, seed):
    """Gates in which every node of a class's path moves the channels by a pattern of its own."""
    rng = np.random.default_rng(seed)
    nodes = {node for path in paths.values() for node in path}
    pattern = {node: 0.02 * rng.normal(size=60) for node in sorted(nodes)}
    return {
        name: 0.5 + sum(pattern[node] for node in path) + 0.02 * rng.normal(size=(12, 60))
        for name, path in paths.items()
    }


def test_matrices_are_labelled_and_symmetric():
    found = class_similarity(RECORDING, "SK_4_1", ["tabby", "goldfish", "pug"])
    assert found["class"].values.tolist() == found["other"].values.tolist() == ["tabby", "goldfish", "pug"]
    flat = {name: gates.reshape(len(gates), -1).mean(axis=0) for name, gates in RECORDING.raw["SK_4_1"].items()}
    expected = np.sqrt(np.mean((flat["tabby"] - flat["pug"]) ** 2))
    assert found["distance"].sel({"class": "tabby"}, drop=True).sel(other="pug").item() == pytest.approx(expected)
    for matrix in found.data_vars.values():
        np.testing.assert_array_equal(matrix, matrix.values.T)


def test_all_classes_by_default_and_unknown_ones_named():
    assert class_similarity(RECORDING, "SE_2_1").sizes == {"class": 6, "other": 6}
    with pytest.raises(SeProbeError) as error:
        class_similarity(RECORDING, "SE_2_1", ["plane"])
    assert str(error.value) == (
        "class 'plane' is not among the 6 classes of the recording; choose one that is, or record it with --classes"
    )


def test_clusters_follow_the_gates():
    recording = RawRecording(SITES[:1], ["pug"], {"SE_2_1": gated_by_path(PATHS, 1)})
    similarity = class_similarity(recording, "SE_2_1")
    order = [str(similarity["class"].values[place]) for place in cluster_classes(similarity).order]
    assert abs(order.index("pug") - order.index("tabby")) == 1
    animals = sorted(order.index(name) for name in ("goldfish", "pug", "tabby"))
    assert animals in ([0, 1, 2], [3, 4, 5])


def test_agreement_with_a_given_hierarchy_that_made_the_gates():
    recording = RawRecording(SITES[:1], ["pug"], {"SE_2_1": gated_by_path(PATHS, 1)})
    row = site_similarity(recording, paths=PATHS, permutations=199).iloc[0]
    assert row["hierarchy_classes"] == 6
    assert row["hierarchy_correlation"] > 0.7
    assert row["hierarchy_p"] == row["hierarchy_p_holm"] < 0.05
    assert row["hierarchy_ci_low"] < row["hierarchy_correlation"] < row["hierarchy_ci_high"]


def test_several_paths_to_a_class_count_and_sites_are_corrected_for():
    twice = {name: [path, path] for name, path in PATHS.items()}
    sites = [SITES[0], SITES[1]]
    raw = {"SE_2_1": gated_by_path(PATHS, 1), "SE_3_1": gated_by_path(PATHS, 3)}
    recording = RawRecording(sites, ["pug"], raw)
    once, again = (site_similarity(recording, paths=paths, permutations=199) for paths in (PATHS, twice))
    np.testing.assert_allclose(again["hierarchy_correlation"], once["hierarchy_correlation"])
    detour = {**PATHS, "banana": [PATHS["banana"], ("entity", "animal", "fish", "banana")]}
    moved = site_similarity(recording, paths=detour, permutations=199)
    assert (moved["hierarchy_correlation"] < once["hierarchy_correlation"]).all()
    smallest = once["hierarchy_p"].min()
    assert once["hierarchy_p_holm"].min() == pytest.approx(2 * smallest)


def test_wordnet_is_the_hierarchy_where_classes_have_wnids():
    table = site_similarity(RECORDING, permutations=9)
    assert table["hierarchy_classes"].tolist() == [6] * 4
    assert table["hierarchy_correlation"].notna().all()
    without = RawRecording(RECORDING.sites, RECORDING.chosen, RECORDING.raw, {"pug": WNIDS["pug"]})
    row = site_similarity(without, permutations=9).iloc[0]
    assert row["hierarchy_classes"] == 1
    assert np.isnan(row["hierarchy_correlation"])


def test_distance_without_noise_is_what_the_classes_differ_by():
    rng = np.random.default_rng(2)
    truth = {name: 0.5 + 0.1 * rng.normal(size=400) for name in COUNTS}
    raw = {name: mean + 0.2 * rng.normal(size=(6, 400)) for name, mean in truth.items()}
    row = site_similarity(RawRecording(SITES[:1], ["pug"], {"SE_2_1": raw}), permutations=1).iloc[0]
    means = np.stack(list(truth.values()))
    expected = np.sqrt(2 * means.var(axis=0, ddof=1).mean())
    assert row["true_distance"] == pytest.approx(expected, rel=0.05)
    assert row["distance"] == pytest.approx(np.sqrt(expected**2 + 2 * 0.04 / 6), rel=0.05)


def test_a_collapsed_site_keeps_its_correlations_but_not_its_distances():
    table = site_similarity(RECORDING, permutations=1).set_index("site")
    assert table.loc["SE_2_1", "distance"] == pytest.approx(1000 * table.loc["SE_3_1", "distance"], rel=0.02)
    assert table.loc["SE_3_1", "verdict"] == "collapsed"


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
