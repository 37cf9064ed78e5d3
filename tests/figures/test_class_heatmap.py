"""The heat map shows every mean at the place that the table gives it."""

import numpy as np
import pandas as pd

from se_probe.analysis.similarity import clustered_class_means
from se_probe.figures.class_heatmap import class_heatmap
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
