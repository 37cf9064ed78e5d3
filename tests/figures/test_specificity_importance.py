"""A point a site, at its numbers, with both intervals; gates that hardly move are hollow."""

import numpy as np

from se_probe.figures.specificity_importance import specificity_importance
from tests.analysis.ablated import SITES
from tests.figures.intervention_tables import importance_table, segments
from tests.figures.tables import texts, titles


def test_points_and_intervals_are_the_data():
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
