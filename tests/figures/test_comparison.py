"""Profiles are the table's, with a line a run, and the spread beside the share."""

import numpy as np

from se_probe.figures.comparison import comparison_profiles
from tests.figures.comparison_tables import RUNS, sites
from tests.figures.tables import legend_names, texts, titles

COLUMNS = ["between_class_sd", "dynamic", "within_class_sd", "open", "specificity", "closed"]


def test_every_panel_has_a_line_a_run_with_the_numbers_of_the_table():
    table = sites()
    figure = comparison_profiles(table, demo=False)
    assert legend_names(figure) == list(RUNS)
    for axes, column in zip(figure.axes, COLUMNS, strict=True):
        drawn = [line for line in axes.lines if line.get_linestyle() != "None"]
        for line, run in zip(drawn, RUNS, strict=True):
            rows = table[table["run"] == run]
            np.testing.assert_array_equal(line.get_xdata(), rows["depth"])
            np.testing.assert_array_equal(line.get_ydata(), rows[column])


def test_gate_units_come_first_and_the_share_has_its_bands():
    figure = comparison_profiles(sites(), demo=False)
    assert titles(figure)[:5:2] == ["SD between class means", "SD between images of a class", "class specificity ω²"]
    assert [len(axes.collections) for axes in figure.axes] == [0, 0, 0, 0, 2, 0]
    assert {axes.get_yscale() for axes in (figure.axes[0], figure.axes[2])} == {"log"}
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim()
    assert any("Bands of ω²: 95 % interval over classes." in text for text in texts(figure))


def test_sites_whose_gates_hardly_move_are_hollow():
    table = sites()
    figure = comparison_profiles(table, demo=False)
    still = table[table["verdict"] == "collapsed"]
    for axes, column in zip(figure.axes, COLUMNS, strict=True):
        hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
        np.testing.assert_array_equal(np.concatenate([line.get_ydata() for line in hollow]), still[column])
    assert any("Hollow: most channels of the site hardly move." in text for text in texts(figure))


def test_no_interval_no_band_and_a_spread_of_nothing_is_drawn_at_the_bottom():
    table = sites(over="images").assign(between_class_sd=0.0)
    figure = comparison_profiles(table, demo=True, caption="two nets")
    assert len(figure.axes[4].collections) == 0
    low, _ = figure.axes[0].get_ylim()
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), low)
    assert {"two nets", "demo stimuli, not photographs"} <= set(texts(figure))
