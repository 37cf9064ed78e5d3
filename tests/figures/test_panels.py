"""Which panels there are, on which scales."""

import numpy as np
import pytest

from se_probe.figures import role_of_excitation
from tests.figures.tables import FOUR, curves, legend_names, texts, titles


def test_x_axis_names_channels_when_all_are_shown():
    figure = role_of_excitation(curves(points=16, site_channels=16), demo=False)
    assert figure.get_supxlabel() == "channel"
    assert figure.axes[0].get_title(loc="right") == "all 16 channels"


def test_bounded_gates_share_the_scale_zero_to_one():
    figure = role_of_excitation(curves(["SE_2_1", "SE_5_3"]), demo=False)
    assert [axes.get_ylim() for axes in figure.axes] == [(-0.03, 1.03)] * 2


@pytest.mark.parametrize(("activation", "scale"), [("unbounded", 1.0), ("sigmoid", 2.0)])
def test_gate_that_is_not_within_zero_and_one_has_its_own_scale(activation, scale):
    table = curves(activation=activation, scale=scale)
    low, high = role_of_excitation(table, demo=False).axes[0].get_ylim()
    assert (low, high) != (-0.03, 1.03)
    assert low < table["mean"].min() < table["mean"].max() < high


def test_of_two_branches_that_mirror_each_other_the_second_is_drawn():
    table = curves(["SK_3_4"], branches=2, activation="softmax over branches")
    figure = role_of_excitation(table, demo=False)
    assert titles(figure) == ["SK_3_4 · branch 1"]
    rows = table[(table["class"] == "pug") & (table["branch"] == 1)]
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), rows["mean"])
    note = "Two branches share every channel, so that branch 0 is one minus branch 1, which is drawn."
    assert note in texts(figure)


def test_independent_branches_have_a_panel_each():
    figure = role_of_excitation(curves(["SK_3_4"], branches=2, scale=0.7), demo=False)
    assert titles(figure) == ["SK_3_4 · branch 0", "SK_3_4 · branch 1"]


def test_four_branches_stand_side_by_side():
    sites = ["SA_4_1", "SA_5_1"]
    figure = role_of_excitation(curves(sites, branches=4), demo=False)
    assert titles(figure) == [f"{site} · branch {branch}" for site in sites for branch in range(4)]
    assert figure.axes[0].get_gridspec().ncols == 4


@pytest.mark.parametrize(("classes", "points"), [([f"class {place}" for place in range(7)], 10), (FOUR, 101)])
def test_what_lines_cannot_show_is_strips_of_the_same_numbers(classes, points):
    table = curves(["SE_3_4", "SE_5_3"], classes, points=points, site_channels=128)
    figure = role_of_excitation(table, demo=False)
    for axes, site in zip(figure.axes[:2], ("SE_3_4", "SE_5_3"), strict=True):
        rows = table[table["site"] == site]
        cells = axes.images[0].get_array()
        names = list(rows["class"].unique())
        for row, name in enumerate(names):
            np.testing.assert_array_equal(cells[row], rows.loc[rows["class"] == name, "mean"])
        assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
    assert legend_names(figure) == []
