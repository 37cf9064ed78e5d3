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


@pytest.mark.parametrize("in_pixels", [True, False])
def test_maps_lie_over_the_pixels_only_where_that_was_shown(in_pixels):
    rows = panels()
    figure = gate_maps(rows, site="SE_3_1", in_pixels=in_pixels, demo=False)
    columns = 4
    assert len(figure.axes) == 4 * columns
    above, below = figure.axes[0].get_images()[0].get_array(), figure.axes[columns].get_images()[0].get_array()
    np.testing.assert_array_equal(above, rows[0][0].picture)
    assert below.shape == ((32, 32, 3) if in_pixels else (4, 4, 3))
    words = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert ("Drawn over the pixels" in words) == in_pixels


def test_colours_are_symmetric_about_zero_and_their_limits_are_stated():
    rows = panels(1)
    limit = np.quantile(np.abs([item.shares for item in rows[0]]), 0.98)
    figure = gate_maps(rows, site="SE_3_1", in_pixels=False, demo=False)
    bar = figure.axes[-1]
    assert [tick.get_text() for tick in bar.get_yticklabels()] == [f"−{limit:.2g}", "0", f"+{limit:.2g}"]
    colours = bar.get_images()[0].get_array()
    assert colours[0, 0, 0] > colours[0, 0, 2]
    assert colours[-1, 0, 2] > colours[-1, 0, 0]
    assert colours[50, 0].max() < 0.2
    cell = figure.axes[4].get_images()[0].get_array()[1, 2]
    assert (cell[0] > cell[2]) == (rows[0][0].shares[1, 2] > 0)


def test_a_figure_of_the_demo_is_marked():
    words = [text.get_text() for text in gate_maps(panels(1), site="SE", in_pixels=True, demo=True).texts]
    assert any("demo" in text.lower() for text in words)
