"""Thumbnails, lines and bars are what they are given."""

from itertools import pairwise

import numpy as np
import pytest

from se_probe.figures.scale_images import scale_images
from tests.figures.scale_tables import SCALES, examples, thumbnails
from tests.figures.tables import legend_names, texts


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
