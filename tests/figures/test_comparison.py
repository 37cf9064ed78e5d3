"""Profiles are the table's, with a line a run, and the spread beside the share."""

import numpy as np

from se_probe.figures.comparison import comparison_profiles
from tests.figures.comparison_tables import RUNS, sites
from tests.figures.tables import legend_names, texts, titles

COLUMNS = ["specificity", "dynamic", "between_class_sd", "open", "within_class_sd", "closed"]


def test_every_panel_has_a_line_a_run_with_the_numbers_of_the_table():
    table = sites()
    figure = comparison_profiles(table, demo=False)
    assert legend_names(figure) == list(RUNS)
    for axes, column in zip(figure.axes, COLUMNS, strict=True):
        for line, run in zip(axes.lines, RUNS, strict=True):
            rows = table[table["run"] == run]
            np.testing.assert_array_equal(line.get_xdata(), rows["depth"])
            np.testing.assert_array_equal(line.get_ydata(), rows[column])


def test_the_share_has_its_bands_and_stands_above_its_spread():
    figure = comparison_profiles(sites(), demo=False)
    assert titles(figure)[0] == "class specificity ω²"
    assert titles(figure)[2:5:2] == ["SD between class means", "SD between images of a class"]
    assert [len(axes.collections) for axes in figure.axes] == [2, 0, 0, 0, 0, 0]
    assert {axes.get_yscale() for axes in (figure.axes[2], figure.axes[4])} == {"log"}
    assert figure.axes[2].get_ylim() == figure.axes[4].get_ylim()
    assert "bands of ω²: 95 % for another draw of classes" in texts(figure)


def test_no_interval_no_band_and_a_spread_of_nothing_is_drawn_at_the_bottom():
    table = sites(over="images").assign(between_class_sd=0.0)
    figure = comparison_profiles(table, demo=True, caption="two nets")
    assert len(figure.axes[0].collections) == 0
    low, _ = figure.axes[2].get_ylim()
    np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), low)
    assert {"two nets", "demo stimuli, not photographs"} <= set(texts(figure))
