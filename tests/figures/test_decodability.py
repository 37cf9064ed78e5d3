"""Decodability by depth: accuracy with its interval, chance, and the spread that it is read from."""

import numpy as np

from se_probe.figures import style
from se_probe.figures.decodability import decodability
from tests.figures.site_tables import hollow_places, line_data, site_table
from tests.figures.tables import texts, titles


def test_lines_and_chance_are_the_data():
    table = site_table()
    accuracy, spread = decodability(table, demo=False).axes
    np.testing.assert_array_equal(line_data(accuracy, style.COLOURS[0]), table["accuracy"])
    np.testing.assert_array_equal(line_data(accuracy, style.QUIET), table["chance"])
    np.testing.assert_array_equal(line_data(spread, style.COLOURS[4]), table["between_class_sd"])
    corners = accuracy.collections[0].get_paths()[0].vertices
    for place, row in table.iterrows():
        heights = corners[corners[:, 0] == place, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], row[["ci_low", "ci_high"]].astype(float))


def test_words_and_hollow_sites():
    figure = decodability(site_table(verdicts=["collapsed", "live", "live", "live", "live"]), demo=True)
    assert titles(figure) == ["accuracy among 4 classes", "standard deviation, gate units"]
    assert hollow_places(figure.axes[0], style.COLOURS[0]) == [0]
    assert any(text.startswith("Hollow: most channels hardly move (collapsed).") for text in texts(figure))
    assert "demo stimuli, not photographs" in texts(figure)
