"""Figures of classes at a site hold the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.gates import channel_gates
from se_probe.analysis.similarity import class_similarity, cluster_classes, clustered_class_means, pair_table
from se_probe.figures.classes import channel_distribution, class_heatmap, class_similarity_matrix
from tests.analysis.raw_recording import mixed_recording
from tests.figures.tables import texts, titles


def _table(**kwargs):
    return clustered_class_means(mixed_recording(), "SE_2_1", **kwargs)


def test_cells_and_names_are_the_data():
    table = _table()
    axes, _ = class_heatmap(table, demo=False).axes
    cells = axes.images[0].get_array()
    names = [label.get_text() for label in axes.get_yticklabels()]
    for row in table.to_dict("records"):
        assert cells[row["row"], row["column"]] == row["mean"]
        assert names[row["row"]] == row["class"]
    assert axes.images[0].get_clim() == (0, 1)


def test_gates_without_bounds_have_their_own_colours():
    table = _table().assign(activation="unbounded")
    limits = class_heatmap(table, demo=False).axes[0].images[0].get_clim()
    np.testing.assert_allclose(limits, (table["mean"].min(), table["mean"].max()))


def test_words():
    figure = class_heatmap(_table(channels=4), demo=True, caption="a network")
    assert titles(figure)[0] == "SE_2_1 · 4 of 6 channels"
    assert {"demo stimuli, not photographs", "a network"} <= set(texts(figure))
    assert titles(class_heatmap(_table(), demo=False))[0] == "SE_2_1 · all 6 channels"
    assert figure.axes[1].get_ylabel() == "mean gate"


def test_branches_lie_side_by_side():
    figure = class_heatmap(clustered_class_means(mixed_recording(), "SK_4_1"), demo=False)
    assert figure.axes[0].images[0].get_array().shape == (6, 6)
    assert figure.get_supxlabel() == "channel (branch:channel), clustered"


def test_columns_have_the_indices_of_their_channels():
    table = _table()
    axes = class_heatmap(table, demo=False).axes[0]
    columns = table.drop_duplicates("column").sort_values("column")["channel"]
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(channel) for channel in columns]


def test_more_classes_than_can_be_named_are_counted():
    table = _table(classes=["pug"])
    many = pd.concat([table.assign(row=row, **{"class": f"class {row}"}) for row in range(70)])
    axes = class_heatmap(many, demo=False).axes[0]
    assert axes.get_ylabel() == "70 classes, clustered"
    assert axes.get_yticklabels() == []


SIMILARITY = class_similarity(mixed_recording(), "SE_2_1")
CLUSTERING = cluster_classes(SIMILARITY)
PAIRS = pair_table(SIMILARITY, CLUSTERING)


def _draw(demo=False):
    return class_similarity_matrix(PAIRS, CLUSTERING.linkage, site="SE_2_1", demo=demo)


def test_cells_are_the_distances_of_the_classes_named():
    _, matrix, _ = _draw().axes
    names = [label.get_text() for label in matrix.get_yticklabels()]
    expected = SIMILARITY["distance"].sel({"class": names, "other": names})
    np.testing.assert_array_equal(matrix.images[0].get_array(), expected)


def test_the_two_closest_classes_are_joined_at_their_rows_and_distance():
    tree, matrix, _ = _draw().axes
    closest = CLUSTERING.linkage[0]
    names = [str(SIMILARITY["class"].values[int(leaf)]) for leaf in closest[:2]]
    rows = [label.get_text() for label in matrix.get_yticklabels()]
    expected = sorted(rows.index(name) for name in names)
    joints = [(sorted({*line.get_ydata()}), max(line.get_xdata())) for line in tree.lines]
    assert (expected, closest[2]) in joints
    assert tree.get_ylim() == (5.5, -0.5)
    assert matrix.get_ylim() == (5.5, -0.5)
    assert tree.get_xlim()[1] == 0


def test_words_of_the_class_similarity():
    figure = _draw(demo=True)
    assert figure.axes[1].get_title(loc="left") == "SE_2_1"
    assert figure.axes[2].get_ylabel() == "distance, gate units"
    assert "demo stimuli, not photographs" in texts(figure)


RECORDING = mixed_recording()


def _dots(axes):
    return [line for line in axes.lines if line.get_marker() == "o" and line.get_linestyle() == "None"]


def test_dots_and_medians_are_the_data():
    table = channel_gates(RECORDING, "SE_2_1", 3)
    axes = channel_distribution(table, demo=False).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == RECORDING.chosen
    for row, (dots, name) in enumerate(zip(_dots(axes), RECORDING.chosen, strict=True)):
        gates = table.loc[table["class"] == name, "gate"]
        np.testing.assert_array_equal(dots.get_xdata(), gates)
        assert np.abs(dots.get_ydata() - row).max() < 0.3
        medians = [line for line in axes.lines if line.get_linewidth() == 1.4]
        assert medians[row].get_xdata() == pytest.approx([np.median(gates)] * 2)


def test_scale_is_the_range_of_the_gate():
    table = channel_gates(RECORDING, "SE_3_1", 0)
    assert channel_distribution(table, demo=False).axes[0].get_xlim() == (-0.03, 1.03)
    unbounded = channel_distribution(table.assign(activation="unbounded"), demo=False).axes[0].get_xlim()
    assert unbounded[1] - unbounded[0] < 0.01


def test_words_of_the_channel_distribution():
    figure = channel_distribution(channel_gates(RECORDING, "SK_4_1", 2, branch=1), demo=True)
    assert titles(figure) == ["SK_4_1 · branch 1 · channel 2"]
    assert "Dot: an image. Box: quartiles and median. Whiskers: range." in texts(figure)
    assert "demo stimuli, not photographs" in texts(figure)
    assert titles(channel_distribution(channel_gates(RECORDING, "SE_2_1", 0), demo=False)) == ["SE_2_1 · channel 0"]
