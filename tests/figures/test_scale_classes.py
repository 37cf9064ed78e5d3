"""Curves over classes are the table's, at the class's index or under its name."""

import numpy as np
import pytest

from se_probe.figures.scale_classes import scale_classes
from tests.figures.scale_tables import SCALES, classes
from tests.figures.tables import legend_names, texts, titles


@pytest.mark.parametrize("number", [30, 80])
def test_lines_are_the_data_in_the_order_of_the_index(number):
    table = classes(number)
    figure = scale_classes(table, demo=False)
    for axes, site in zip(figure.axes, ("SK_2_2", "SK_3_2", "SK_5_3"), strict=True):
        for line, scale in zip(axes.lines, SCALES, strict=True):
            rows = table[(table["site"] == site) & (table["scale"] == scale)].sort_values("class_index")
            shift = 0 if number == 80 else 0.18 * (SCALES.index(scale) - 1)
            np.testing.assert_allclose(line.get_xdata(), rows["class_index"] + shift)
            assert line.get_linestyle() == ("-" if number == 80 else "None")
            np.testing.assert_array_equal(line.get_ydata(), rows["value"])
    assert figure.get_supxlabel() == "class index"
    assert titles(figure) == [f"{site} · kernel 5 − 3" for site in ("SK_2_2", "SK_3_2", "SK_5_3")]


def test_few_classes_stand_by_name():
    figure = scale_classes(classes(4, ("SK_2_2",)), demo=True)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == [f"class {place}" for place in range(4)]
    assert figure.get_supxlabel() == "class"
    assert legend_names(figure) == ["1×", "1.5×", "2×"]
    assert "demo stimuli, not photographs" in texts(figure)
    assert any(text.startswith("Bars: 95 % interval over images") for text in texts(figure))


def test_bars_are_the_intervals():
    table = classes(4, ("SK_2_2",))
    axes = scale_classes(table, demo=False).axes[0]
    rows = table[table["scale"] == 1.0].sort_values("class_index")
    ends = np.array([segment[:, 1] for segment in axes.collections[0].get_segments()])
    np.testing.assert_allclose(ends, rows[["ci_low", "ci_high"]])


def test_classes_without_an_index_keep_their_order():
    table = classes(30, ("SK_2_2",), index=False)
    figure = scale_classes(table, demo=False)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), table[table["scale"] == 1.0]["value"])
    assert figure.get_supxlabel() == "class, in the order of the data"
