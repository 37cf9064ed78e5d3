"""The figure shows the numbers it is given, with the words that say what they are."""

import numpy as np

from se_probe.figures import role_of_excitation
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
    figure = role_of_excitation(curves(), demo=False, title="A title", caption="seresnet · 50 images a class")
    assert figure.get_suptitle() == "A title"
    assert figure.get_supylabel() == "mean gate"
    assert figure.get_supxlabel() == "sampled channels, in the order of their index"
    assert "seresnet · 50 images a class" in texts(figure)
    assert legend_names(figure) == [*FOUR, "all classes (10)"]
    assert figure.axes[0].get_title(loc="right") == "10 of 64 channels"
