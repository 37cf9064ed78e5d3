"""Scatter plots of interventions hold the numbers of their tables."""

from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from se_probe.figures.importance import intervention_savings, name_points, specificity_importance
from tests.analysis.ablated import SITES
from tests.figures.intervention_tables import importance_table, intervention_tables, segments
from tests.figures.tables import legend_names, texts, titles

TABLE, _ = intervention_tables()


def points(axes, marker):
    (line,) = [line for line in axes.lines if line.get_marker() == marker]
    return np.column_stack([line.get_xdata(), line.get_ydata()])


def test_points_and_intervals_are_the_data():
    figure = intervention_savings(TABLE, demo=False)
    alone = TABLE[TABLE["scope"] == "site"]
    for axes, column in zip(figure.axes[:2], ("parameters_saved", "multiply_adds_saved"), strict=True):
        expected = alone.assign(points=100 * alone["top1_change"]).sort_values(column, kind="stable")
        found = points(axes, "o")
        np.testing.assert_allclose(found[:, 1], expected["points"])
        # Equal savings stand side by side around their value on the log axis.
        middle = np.exp(pd.Series(np.log(found[:, 0])).groupby(expected[column].to_numpy()).mean())
        np.testing.assert_allclose(middle, middle.index)
        assert len(set(found[:, 0])) == len(found)
        bars = segments(axes.collections[0])
        np.testing.assert_allclose(bars[:, :, 1], 100 * expected[["top1_ci_low", "top1_ci_high"]].to_numpy())
    assert len(points(figure.axes[2], "v")) == 7
    assert len(points(figure.axes[2], "^")) == 4


def test_every_site_is_named_and_no_name_lies_over_another():
    figure = intervention_savings(TABLE, demo=False)
    figure.draw_without_rendering()
    for axes in figure.axes[:2]:
        assert sorted(label.get_text() for label in axes.texts) == sorted(SITES)
        boxes = [label.get_window_extent() for label in axes.texts]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_what_saves_nothing_is_left_out():
    part = TABLE.copy()
    part.loc[part["scope"] != "site", "parameters_saved"] = np.nan
    figure = intervention_savings(part, demo=True, caption="a network")
    assert len(figure.axes) == 2
    assert legend_names(figure) == ["a site alone"]
    assert titles(figure) == ["parameters of the gate path", "multiply–adds of the gate path"]
    assert {"a network", "demo stimuli, not photographs"} <= set(texts(figure))


def test_points_and_intervals_are_the_data_of_the_specificity_importance():
    table = importance_table()
    for axes, column in zip(
        specificity_importance(table, demo=False).axes, ("between_class_sd", "omega_squared"), strict=True
    ):
        points = next(line for line in axes.lines if line.get_marker() == "o")
        np.testing.assert_array_equal(points.get_xdata(), table[column])
        np.testing.assert_array_equal(points.get_ydata(), table["nll_change"])
        np.testing.assert_allclose(segments(axes.collections[0])[:, :, 1], table[["nll_ci_low", "nll_ci_high"]])
        assert sorted(label.get_text() for label in axes.texts) == sorted(SITES)
    np.testing.assert_allclose(segments(axes.collections[1])[:, :, 0], table[["ci_low", "ci_high"]])


def test_sites_whose_gates_hardly_move_are_hollow_and_the_note_says_so():
    figure = specificity_importance(importance_table(["live"] * 6 + ["collapsed"] * 2), demo=True, caption="a network")
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert len(hollow[0].get_xdata()) == 2
    assert titles(figure) == ["spread between class means, gate units", "share between classes, ω²"]
    expected = {"Hollow: most channels hardly move (collapsed).", "a network", "demo stimuli, not photographs"}
    assert expected <= set(texts(figure))


def test_the_correlation_stands_in_its_panel():
    figure = specificity_importance(importance_table(), demo=False, correlations={"omega_squared": -0.42})
    first, second = figure.axes
    assert (first.get_title(loc="right"), second.get_title(loc="right")) == ("", "Spearman -0.42")


def test_very_many_sites_are_not_named():
    many = importance_table().loc[np.repeat(np.arange(8), 4)].reset_index(drop=True)
    assert not specificity_importance(many, demo=False).axes[0].texts


def named(x, y, size=(3.5, 3)):
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.plot(x, y, "o")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    names = [f"SE_{place}" for place in range(len(x))]
    name_points(axes, np.asarray(x), np.asarray(y), names)
    return axes, names


def test_crowded_names_do_not_overlap_and_stay_inside():
    rng = np.random.default_rng(0)
    axes, names = named(0.5 + 0.06 * rng.normal(size=12), 0.5 + 0.06 * rng.normal(size=12))
    assert [label.get_text() for label in axes.texts] == names
    boxes = [Text.get_window_extent(label) for label in axes.texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    assert any(label.arrow_patch is not None for label in axes.texts)


def test_a_lone_point_needs_no_line_and_one_at_the_edge_is_named_inwards():
    axes, _ = named([0.5, 0.999], [0.5, 0.999])
    middle, corner = axes.texts
    assert middle.arrow_patch is None
    assert (middle.get_ha(), middle.get_va()) == ("left", "bottom")
    assert (corner.get_ha(), corner.get_va()) == ("right", "top")


def test_without_any_room_a_name_is_still_there():
    axes, names = named([0.5] * 60, [0.5] * 60, size=(1.2, 1))
    assert len(axes.texts) == len(names)
