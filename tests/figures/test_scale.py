"""Figures of the scale experiment hold the numbers of their tables."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from se_probe.figures.scale import scale_classes, scale_images, scale_response
from tests.figures.scale_tables import SCALES, classes, examples, levels, thumbnails
from tests.figures.tables import legend_names, texts, titles


def test_levels_and_changes():
    table = levels()
    figure = scale_response(table, demo=True)
    above, below = figure.axes
    for line, scale in zip(above.lines, SCALES, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), table[table["scale"] == scale]["value"])
    for line, scale in zip(below.lines, SCALES[1:], strict=True):
        np.testing.assert_array_equal(line.get_ydata(), table[table["scale"] == scale]["change"])
    bars = np.array([segment[:, 1] for segment in above.collections[0].get_segments()])
    np.testing.assert_allclose(bars, table.loc[table["scale"] == 1.0, ["value_ci_low", "value_ci_high"]])
    assert titles(figure) == ["mean gate", "mean absolute change from 1×"]
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["SE_2_1", "SE_2_2", "SE_3_1"]
    assert "demo stimuli, not photographs" in texts(figure)


def test_without_levels_only_the_change_is_drawn():
    table = levels(quantity="no larger kernel").assign(value=np.nan)
    assert titles(scale_response(table, demo=False)) == ["mean absolute change from 1×"]


def test_every_quantity_has_its_panel():
    table = pd.concat([levels(), levels(("SK_4_1",), "attention difference")])
    figure = scale_response(table, demo=False)
    assert titles(figure) == ["mean gate", "attention difference", "mean absolute change from 1×"]
    assert np.isnan(figure.axes[1].lines[0].get_ydata()[:3]).all()


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


def grid(figure, columns=5):
    return [figure.axes[start : start + columns] for start in range(0, len(figure.axes), columns)]


def test_rows_show_pictures_lines_and_bars():
    table, pictures = examples(), thumbnails()
    for path, axes in zip(("a/0.png", "b/0.png"), grid(scale_images(table, pictures, demo=False)), strict=True):
        rows = table[table["path"] == path]
        for scale, panel in zip(SCALES, axes, strict=False):
            np.testing.assert_array_equal(panel.images[0].get_array(), pictures[path, scale])
        for scale, line in zip(SCALES, axes[3].lines, strict=True):
            expected = rows[(rows["part"] == "channels") & (rows["scale"] == scale)]
            np.testing.assert_array_equal(line.get_xdata(), expected["channel"])
            np.testing.assert_array_equal(line.get_ydata(), expected["value"])
        for scale, bars in zip(SCALES, axes[4].containers, strict=True):
            expected = rows[(rows["part"] == "units") & (rows["scale"] == scale)]["value"]
            np.testing.assert_array_equal([bar.get_height() for bar in bars], expected)
        assert axes[0].get_ylabel() == rows["class"].iloc[0]


def test_all_rows_have_the_same_scales():
    rows = grid(scale_images(examples(), thumbnails(), demo=False))
    for column in (3, 4):
        assert len({row[column].get_ylim() for row in rows}) == 1


def test_words():
    figure = scale_images(examples(), thumbnails(), demo=True, title="A title", caption="demo:sk · 2 images")
    first, last = grid(figure)
    assert [axes.get_title() for axes in first[:3]] == ["1×", "1.5×", "2×"]
    assert first[3].get_title(loc="left") == "SK_3_2: attention of 5×5"
    assert first[4].get_title(loc="left") == "mean difference 5 − 3"
    assert last[3].get_xlabel() == "channel, of 16"
    assert [tick.get_text() for tick in last[4].get_xticklabels()] == ["SK_2_2", "SK_3_2"]
    assert legend_names(figure) == ["1×", "1.5×", "2×"]
    assert {"demo:sk · 2 images", "demo stimuli, not photographs"} <= set(texts(figure))
    assert figure.get_suptitle() == "A title"


@pytest.mark.parametrize("scales", [(1.0, 2.0), (1.0, 1.2, 1.4, 1.6, 1.8)])
def test_nothing_overlaps_or_leaves_the_page(scales):
    sites = ("SK_2_3", "SK_3_4", "SK_4_6", "SK_5_3")
    figure = scale_images(examples(scales=scales, sites=sites), thumbnails(scales=scales), demo=True)
    for row in grid(figure, len(scales) + 2):
        boxes = [axes.get_tightbbox() for axes in row]
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 + 1 and box.y0 >= 0 for box in boxes)
        assert all(left.x1 <= right.x0 + 1 for left, right in pairwise(boxes))
