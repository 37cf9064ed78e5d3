"""Excitation curves hold the numbers of their tables, and panels say what they show."""

import numpy as np
import pytest

from se_probe.figures import role_of_excitation, within_class
from tests.figures.tables import FOUR, PAPER_PANELS, curves, legend_names, texts, titles


def test_lines_are_the_data():
    table = curves(PAPER_PANELS)
    figure = role_of_excitation(table, demo=False)
    assert titles(figure) == PAPER_PANELS
    for axes, site in zip(figure.axes, PAPER_PANELS, strict=True):
        assert [line.get_label() for line in axes.lines] == [*FOUR, "all classes (10)"]
        for line in axes.lines:
            rows = table[(table["site"] == site) & (table["class"] == line.get_label())]
            np.testing.assert_array_equal(line.get_xdata(), rows["position"])
            np.testing.assert_array_equal(line.get_ydata(), rows["mean"])


def test_order_of_rows_does_not_matter_within_a_class():
    table = curves()
    shuffled = table.sort_values("position", ascending=False, kind="stable")
    ordered, drawn = role_of_excitation(table, demo=False), role_of_excitation(shuffled, demo=False)
    for one, other in zip(ordered.axes[0].lines, drawn.axes[0].lines, strict=True):
        np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())


def test_words_around_the_panels():
    figure = role_of_excitation(curves(), demo=False, title="A title", caption="seresnet · 50 images per class")
    assert figure.get_suptitle() == "A title"
    assert figure.get_supylabel() == "mean gate"
    assert figure.get_supxlabel() == "sampled channels, in the order of their index"
    assert "seresnet · 50 images per class" in texts(figure)
    assert legend_names(figure) == [*FOUR, "all classes (10)"]
    assert figure.axes[0].get_title(loc="right") == "10 of 64 channels"


TWO = ["goldfish", "airliner"]


def test_line_and_band_are_the_data():
    table = curves(PAPER_PANELS[:2], TWO, reference=None)
    figure = within_class(table, demo=False)
    for axes, site in zip(figure.axes, PAPER_PANELS[:2], strict=True):
        for name, line, band in zip(TWO, axes.lines, axes.collections, strict=True):
            rows = table[(table["site"] == site) & (table["class"] == name)]
            np.testing.assert_array_equal(line.get_ydata(), rows["mean"])
            corners = band.get_paths()[0].vertices
            for position, mean, std in zip(rows["position"], rows["mean"], rows["std"], strict=True):
                heights = corners[corners[:, 0] == position, 1]
                np.testing.assert_allclose([heights.min(), heights.max()], [mean - std, mean + std], rtol=1e-12)


def test_a_band_ends_at_zero_and_one_and_the_note_counts_where():
    table = curves(classes=TWO, reference=None).assign(std=0.6)
    figure = within_class(table, demo=False)
    corners = np.concatenate([band.get_paths()[0].vertices[:, 1] for band in figure.axes[0].collections])
    assert (corners.min(), corners.max()) == (0, 1)
    beyond = int(((table["mean"] - 0.6 < 0) | (table["mean"] + 0.6 > 1)).sum())
    assert f"Bands end at 0 and 1; at {beyond} of {len(table)} points mean ± s.d. goes beyond." in texts(figure)


def test_one_image_has_a_line_and_no_band():
    axes = within_class(curves(classes=TWO, reference=None, count=1), demo=False).axes[0]
    assert [line.get_label() for line in axes.lines] == TWO
    assert len(axes.collections) == 0


def test_words():
    figure = within_class(curves(classes=TWO, reference=None), demo=True)
    assert figure.get_suptitle() == "Within-class variation"
    assert figure.get_supylabel() == "gate: mean ± s.d."
    assert legend_names(figure) == TWO
    assert "demo stimuli, not photographs" in texts(figure)


def test_class_looks_the_same_in_both_figures():
    within = within_class(curves(classes=TWO, reference=None), demo=False, order=FOUR).axes[0]
    between = role_of_excitation(curves(), demo=False).axes[0]
    looks = {line.get_label(): (line.get_color(), line.get_marker()) for line in between.lines}
    assert [(line.get_color(), line.get_marker()) for line in within.lines] == [looks[name] for name in TWO]


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
