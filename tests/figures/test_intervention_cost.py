"""Costs by site are the table's: points, bars over stages and their intervals."""

import numpy as np
import pytest

from se_probe.figures import style
from se_probe.figures.intervention_cost import NO_INTERVAL, intervention_cost, site_order
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


def test_a_measure_of_ones_own_has_one_row_of_panels_in_its_unit():
    sites, _ = intervention_tables()
    own = sites.drop(columns=[name for name in sites if name.startswith("top1")])
    own = own.rename(columns=lambda name: name.replace("nll", "metric"))
    own = own.assign(metric="psnr", unit="dB", lower_is_better=False)
    axes = intervention_cost(own, demo=False).axes
    assert [panel.get_title(loc="left") for panel in axes] == ["psnr, dB (higher is better)"] * 2
    alone = own[own["scope"] == "site"]
    np.testing.assert_allclose(axes[0].lines[-1].get_ydata(), alone["metric_change"])
