"""The figures of costs show their tables, the formula beside what was counted, and the network's own ratio."""

import numpy as np
import pandas as pd
import pytest

from se_probe.figures import style
from se_probe.figures.cost import COUNTED_LOOK, FORMULA_LOOK, INCREASES, PARTS, cost_by_reduction, cost_by_site
from tests.figures.tables import legend_names, texts, titles


def sites(formula=True):
    rng = np.random.default_rng(2)
    size = 5
    table = pd.DataFrame({name: rng.integers(1000, 100_000, size) for name in ("parameters", *PARTS)})
    table["formula_parameters"] = table["parameters"] * 0.98 if formula else np.nan
    return table.assign(site=[f"SE_2_{block}" for block in range(1, size + 1)])


def sweep(current=16):
    ratios = np.array([4, 8, 16, 32])
    return pd.DataFrame(
        {
            "reduction": ratios,
            "gate_parameters": 1_100_000 // ratios,
            "formula_parameters": 1_000_000 / ratios,
            "parameters_increase": 1 / ratios,
            "operations_increase": 0.003 + 0.01 / ratios,
            "current": ratios == current,
        }
    )


def heights(axes, colour):
    found = [bar for bar in axes.patches if bar.get_facecolor()[:3] == pytest.approx(rgb(colour), abs=1e-6)]
    return [bar.get_height() for bar in found]


def rgb(colour):
    return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def dashes(axes):
    (line,) = [line for line in axes.lines if line.get_marker() == FORMULA_LOOK.marker]
    return line.get_ydata()


def test_bars_are_the_costs_and_dashes_the_formula():
    table = sites()
    above, below = cost_by_site(table, demo=False).axes
    np.testing.assert_array_equal(heights(above, COUNTED_LOOK.color), table["parameters"])
    np.testing.assert_array_equal(dashes(above), table["formula_parameters"])
    for part, (_, colour) in PARTS.items():
        np.testing.assert_array_equal(heights(below, colour), table[part])
    tops = [bar.get_y() + bar.get_height() for bar in below.patches[-len(table) :]]
    np.testing.assert_array_equal(tops, table[list(PARTS)].sum(axis=1))


def test_without_a_formula_the_legend_has_none():
    assert "2 C² / r" in legend_names(cost_by_site(sites(), demo=False))
    assert "2 C² / r" not in legend_names(cost_by_site(sites(formula=False), demo=False))


def test_the_sweep_shows_its_table_and_the_ratio_of_the_network():
    table = sweep()
    figure = cost_by_reduction(table, demo=False)
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == table["gate_parameters"].tolist()
    assert heights(above, style.QUIET) == [1_100_000 // 16]
    np.testing.assert_array_equal(dashes(above), table["formula_parameters"])
    for name, look in INCREASES.items():
        (line,) = [line for line in below.lines if line.get_color() == look.color]
        np.testing.assert_array_equal(line.get_ydata(), table[f"{name}_increase"])
    assert [label.get_text() for label in below.get_xticklabels()] == ["4", "8", "16", "32"]
    assert "Dark: the network as it is." in texts(figure)
    assert "Dark: the network as it is." not in texts(cost_by_reduction(sweep(current=3), demo=False))


def test_words():
    figure = cost_by_site(sites(), demo=True, caption="a network")
    assert figure.get_suptitle() == "Cost of the gates by site"
    assert titles(figure) == ["parameters", "operations for one image"]
    assert {"demo stimuli, not photographs", "a network"} <= set(texts(figure))
    figure = cost_by_reduction(sweep(), demo=True)
    assert titles(figure) == ["parameters of the gates", "increase over the network without gates, log scale"]
    assert "demo stimuli, not photographs" in texts(figure)
