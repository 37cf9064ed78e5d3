"""Figures of a comparison hold the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest

from se_probe.figures.comparison import alignment, comparison_profiles, steps_figure
from tests.figures.comparison_tables import NAMES, RUNS, pair, sites
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


def panels(figure):
    """Spread above, heat maps, spread at the side."""
    above = [axes for axes in figure.axes if axes.get_ylabel() == "SD of gates"]
    maps = [axes for axes in figure.axes if axes.collections and axes.get_xticklabels() and axes.lines]
    (side,) = (axes for axes in figure.axes if axes.get_xlabel() == "SD of gates")
    return above, maps, side


def test_cells_and_dots_and_spread_are_the_tables():
    table = pair()
    above, maps, side = panels(alignment(table, demo=False))
    for axes, measure in zip(maps, ("cka", "rsa"), strict=True):
        values = table[measure].to_numpy().reshape(4, 3)
        np.testing.assert_array_equal(np.asarray(axes.collections[0].get_array()).reshape(4, 3), values)
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), values.argmax(axis=1) + 0.5)
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), np.arange(4) + 0.5)
    np.testing.assert_allclose(side.lines[0].get_xdata(), [0.1, 0.2, 0.3, 0.4])
    assert len(above) == 2
    for axes in above:
        np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.001, 0.002, 0.003])
    assert [tick.get_text() for tick in maps[0].get_yticklabels()] == list(NAMES)
    # The first site is at the top.
    assert maps[0].get_ylim() == (4, 0)


def test_words():
    figure = alignment(pair(), demo=True, caption="200 images")
    assert [title for title in titles(figure) if title] == ["CKA over images", "RSA over classes"]
    assert legend_names(figure) == list(RUNS)
    assert figure.get_supylabel() == "sites of first net"
    assert figure.get_supxlabel() == "sites of second net"
    assert "demo stimuli, not photographs" in texts(figure)


def test_sites_whose_gates_hardly_move_are_marked():
    figure = alignment(pair(verdict="collapsed"), demo=False)
    _, maps, _ = panels(figure)
    assert [tick.get_text() for tick in maps[0].get_xticklabels()] == ["(SE_2_1)", "(SE_3_1)", "(SE_4_1)"]
    assert [tick.get_text() for tick in maps[0].get_yticklabels()] == list(NAMES)
    assert any("(site): its gates hardly move" in text for text in texts(figure))


def test_few_classes_have_no_map_of_them_and_a_row_of_nothing_no_dot():
    table = pair(rsa=False)
    table.loc[table["first_site"] == "SE_3_1", "cka"] = np.nan
    figure = alignment(table, demo=False)
    _, maps, _ = panels(figure)
    assert [title for title in titles(figure) if title] == ["CKA over images"]
    assert len(maps) == 1
    np.testing.assert_array_equal(maps[0].lines[0].get_ydata(), [0.5, 2.5, 3.5])


@pytest.mark.parametrize("sites", [1, 60])
def test_any_number_of_sites_fits_the_page(sites):
    names = tuple(f"SE_{2 + place // 15}_{1 + place % 15}" for place in range(sites))
    figure = alignment(pair(names, names), demo=False)
    width, height = figure.get_size_inches()
    assert width <= 7.16
    assert height <= 9.6
    _, maps, _ = panels(figure)
    assert len(maps[0].get_yticklabels()) <= 30


def test_matrices_over_steps_are_the_tables_and_first_steps_are_marked():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        [
            {"label": label, "site": site, "sd": rng.uniform(0.01, 0.1), "dynamic": rng.uniform(), "specificity": 0.5}
            for label in ("epoch-0", "epoch-10", "epoch-20")
            for site in ("SE_2_1", "SE_3_1")
        ]
    )
    events = pd.DataFrame({"site": ["SE_2_1", "SE_3_1"], "first_label": [None, "epoch-10"]})
    figure = steps_figure(table, events, demo=False)
    assert titles(figure)[:3] == ["SD over images", "channels that move", "specificity ω²"]
    for axes, column in zip(figure.axes, ("sd", "dynamic", "specificity"), strict=False):
        np.testing.assert_allclose(axes.images[0].get_array(), table[column].to_numpy().reshape(3, 2).T)
        assert (list(axes.lines[0].get_xdata()), list(axes.lines[0].get_ydata())) == ([1], [1])
