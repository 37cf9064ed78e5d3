"""Figures of what interventions cost hold the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest

from se_probe.figures import style
from se_probe.figures.interventions import NO_INTERVAL, SIGNIFICANT, intervention_classes, intervention_cost, site_order
from tests.analysis.ablated import SITES, standard_interventions
from tests.figures.intervention_tables import intervention_tables, segments
from tests.figures.tables import legend_names, texts, titles

TABLE, _ = intervention_tables()


def rows_of(scope):
    return TABLE[TABLE["scope"] == scope]


@pytest.mark.parametrize(("row", "name", "factor"), [(0, "top1", 100), (1, "nll", 1)])
def test_points_and_intervals_are_the_data(row, name, factor):
    axes = np.array(intervention_cost(TABLE, demo=False).axes).reshape(2, 2)[row]
    alone = rows_of("site")
    (points,) = [line for line in axes[0].lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(points.get_xdata(), np.arange(8))
    np.testing.assert_allclose(points.get_ydata(), factor * alone[f"{name}_change"])
    bars = segments(axes[0].collections[0])
    np.testing.assert_allclose(bars[:, :, 1], factor * alone[[f"{name}_ci_low", f"{name}_ci_high"]].to_numpy())
    (line,) = [line for line in axes[1].lines if line.get_marker() not in ("None", None, "")]
    cumulative = rows_of("cumulative").iloc[::-1]
    np.testing.assert_array_equal(line.get_xdata(), np.arange(7))
    np.testing.assert_allclose(line.get_ydata(), factor * cumulative[f"{name}_change"])


def test_a_stage_is_a_bar_over_its_sites_and_lines_part_the_stages():
    axes = intervention_cost(TABLE, demo=False).axes[1]
    spans = segments(axes.collections[2])
    np.testing.assert_allclose(spans[:, :, 0], [[place - 0.35, place + 1.35] for place in (0, 2, 4, 6)])
    np.testing.assert_allclose(spans[:, 0, 1], 100 * rows_of("stage")["top1_change"])
    parting = [line.get_xdata()[0] for line in axes.lines if line.get_color() == style.RULE]
    assert parting == [1.5, 3.5, 5.5]


def test_words():
    figure = intervention_cost(TABLE, demo=True, caption="a network")
    assert titles(figure) == ["top-1 accuracy, points"] * 2 + ["NLL, nats"] * 2
    assert legend_names(figure) == ["this site alone", "from this site to the last", "a whole stage"]
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == list(SITES)
    assert {"a network", "demo stimuli, not photographs"} <= set(texts(figure))
    assert NO_INTERVAL not in texts(figure)
    assert NO_INTERVAL in texts(intervention_cost(TABLE.assign(nll_ci_low=np.nan), demo=False))


def test_sites_alone_take_one_column_and_many_are_thinned():
    figure = intervention_cost(rows_of("site"), demo=False)
    assert (figure.get_figwidth(), len(figure.axes)) == (style.SINGLE_COLUMN, 2)
    names = {f"SE_{stage}_{block}": 0.01 for stage in range(2, 6) for block in range(1, 13)}
    many, _ = intervention_tables(names, classes=2, images=4)
    assert len(intervention_cost(many, demo=False).axes[2].get_xticklabels()) == 16


def test_order_is_that_of_a_row_with_all_sites_or_of_the_sites_alone():
    rows, _ = intervention_tables(rows=list(reversed(standard_interventions(SITES))), classes=2, images=3)
    assert site_order(rows) == list(SITES)
    assert site_order(TABLE[TABLE["scope"] != "cumulative"].iloc[::-1]) == list(SITES[::-1])
    assert site_order(rows_of("stage")) == list(SITES)


_, CLASSES = intervention_tables(hurt={"class3": 3.0, "class7": -1.0})
ALONE = CLASSES[CLASSES["scope"] == "site"]


def test_cells_are_the_data_and_the_most_hurt_class_is_at_the_top():
    axes, _ = intervention_classes(CLASSES, demo=False).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert (names[0], names[-1]) == ("class3", "class7")
    assert [label.get_text() for label in axes.get_xticklabels()] == list(SITES)
    cells = axes.images[0].get_array()
    for row in ALONE.to_dict("records"):
        assert cells[names.index(row["class"]), SITES.index(row["sites"])] == row["nll_change"]
    low, high = axes.images[0].get_clim()
    assert low == -high < 0


def test_cells_whose_interval_excludes_zero_have_a_dot():
    figure = intervention_classes(CLASSES, demo=True)
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    found = set(zip(axes.lines[0].get_xdata(), axes.lines[0].get_ydata(), strict=True))
    sure = ALONE[(ALONE["nll_ci_low"] > 0) | (ALONE["nll_ci_high"] < 0)]
    expected = {(SITES.index(row["sites"]), names.index(row["class"])) for row in sure.to_dict("records")}
    assert found == expected
    assert 0 < len(expected) < len(ALONE)
    words = " ".join(texts(figure))
    assert SIGNIFICANT in words
    assert "demo stimuli, not photographs" in words


def test_an_extreme_cell_does_not_bleach_many_others():
    many = pd.concat([ALONE.assign(**{"class": ALONE["class"] + end}) for end in ("", "x")], ignore_index=True)
    many.loc[0, "nll_change"] = 50.0
    figure = intervention_classes(many, demo=False)
    assert figure.axes[0].images[0].get_clim()[1] < 1
    assert any("cells beyond: " in text for text in texts(figure))


def test_long_names_are_cut_and_very_many_classes_counted():
    _, long = intervention_tables(long_names=True, classes=3, images=5)
    labels = intervention_classes(long, demo=False).axes[0].get_yticklabels()
    assert all(len(label.get_text()) <= 26 and label.get_text().endswith("…") for label in labels)
    many = pd.concat([ALONE.assign(**{"class": f"class {place}"}) for place in range(70)])
    many = many.drop_duplicates(["class", "sites"])
    axes = intervention_classes(many, demo=False).axes[0]
    assert axes.get_ylabel() == "70 classes, hurt most at the top"


def test_classes_without_a_unit_are_left_out():
    part = CLASSES.assign(nll_change=CLASSES["nll_change"].where(CLASSES["class"] != "class0"))
    names = [label.get_text() for label in intervention_classes(part, demo=False).axes[0].get_yticklabels()]
    assert len(names) == 9
    assert np.isfinite(intervention_classes(part, demo=False).axes[0].images[0].get_array()).all()


def own_measure(table):
    own = table.drop(columns=[name for name in table if name.startswith("top1")])
    own = own.rename(columns=lambda name: name.replace("nll", "metric"))
    return own.assign(metric="psnr", unit="dB", lower_is_better=False)


def test_a_measure_of_ones_own_has_one_row_of_panels_in_its_unit():
    own = own_measure(TABLE)
    figure = intervention_cost(own, demo=False)
    assert titles(figure) == ["psnr, dB (higher is better)"] * 2
    (points,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points.get_ydata(), own.loc[own["scope"] == "site", "metric_change"])


def test_a_measure_of_which_more_is_better_shows_its_fall():
    own = own_measure(ALONE)
    for name in ("metric_change", "metric_ci_low", "metric_ci_high"):
        own[name] = -own[name]
    own = own.rename(columns={"metric_ci_low": "metric_ci_high", "metric_ci_high": "metric_ci_low"})
    plain, fallen = (intervention_classes(table, demo=False) for table in (ALONE, own))
    np.testing.assert_array_equal(*(figure.axes[0].images[0].get_array() for figure in (plain, fallen)))
    assert fallen.axes[1].get_ylabel() == "fall of psnr, dB"
