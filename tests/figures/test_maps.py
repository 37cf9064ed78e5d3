"""Figures of maps: what is drawn, in which colours, and whether the pixels lie below."""

import numpy as np
import pytest

from se_probe.figures import gate_maps
from se_probe.figures.maps import MapPanel


def panels(channels=2, images=3):
    draw = np.random.default_rng(0)
    return [
        [
            MapPanel(channel, draw.random((32, 32, 3)), draw.standard_normal((4, 4)), "a class of a long name", 0.25)
            for _ in range(images)
        ]
        for channel in range(channels)
    ]


def pictures(figure):
    return [axes.get_images() for axes in figure.axes]


@pytest.mark.parametrize(("in_pixels", "layers"), [(True, 2), (False, 1)])
def test_maps_lie_over_the_pixels_only_where_that_was_shown(in_pixels, layers):
    figure = gate_maps(panels(), site="SE_3_1", in_pixels=in_pixels, demo=False)
    held = pictures(figure)
    columns = 4
    assert len(held) == 4 * columns
    for row in (1, 3):
        for images in held[columns * row : columns * row + 3]:
            assert len(images) == layers
            assert images[-1].get_interpolation() == ("bilinear" if in_pixels else "nearest")
    words = " ".join(text.get_text() for text in figure.texts)
    assert ("Drawn over the pixels" in words.replace("\n", " ")) == in_pixels


def test_colours_are_symmetric_about_zero_and_their_limits_are_stated():
    rows = panels(1)
    limit = max(np.abs(item.shares).max() for item in rows[0])
    figure = gate_maps(rows, site="SE_3_1", in_pixels=False, demo=False)
    bar = figure.axes[-1]
    assert [tick.get_text() for tick in bar.get_yticklabels()] == [f"−{limit:.2g}", "0", f"+{limit:.2g}"]
    colours = bar.get_images()[0].get_array()
    assert colours[0, 0, 0] > colours[0, 0, 2]
    assert colours[-1, 0, 2] > colours[-1, 0, 0]
    assert colours[50, 0, :3].max() < 0.2


def test_a_figure_of_the_demo_is_marked():
    words = [text.get_text() for text in gate_maps(panels(1), site="SE", in_pixels=True, demo=True).texts]
    assert any("demo" in text.lower() for text in words)
