"""The response over sites is the table's; a site without a level has its change only."""

import numpy as np
import pandas as pd

from se_probe.figures.scale_response import scale_response
from tests.figures.scale_tables import SCALES, levels
from tests.figures.tables import texts, titles


def test_levels_and_changes():
    table = levels()
    figure = scale_response(table, demo=True)
    above, below = figure.axes
    for line, scale in zip(above.lines, SCALES, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), table[table["scale"] == scale]["value"])
    for line, scale in zip(below.lines, SCALES[1:], strict=True):
        np.testing.assert_array_equal(line.get_ydata(), table[table["scale"] == scale]["change"])
    bars = np.array([segment[:, 1] for segment in above.collections[0].get_segments()])
    np.testing.assert_allclose(bars, table.loc[table["scale"] == 1.0, ["value_ci_low", "value_ci_high"]])
    assert titles(figure) == ["mean gate", "mean absolute change from 1×"]
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["SE_2_1", "SE_2_2", "SE_3_1"]
    assert "demo stimuli, not photographs" in texts(figure)


def test_without_levels_only_the_change_is_drawn():
    table = levels(quantity="no larger kernel").assign(value=np.nan)
    assert titles(scale_response(table, demo=False)) == ["mean absolute change from 1×"]


def test_every_quantity_has_its_panel():
    table = pd.concat([levels(), levels(("SK_4_1",), "attention difference")])
    figure = scale_response(table, demo=False)
    assert titles(figure) == ["mean gate", "attention difference", "mean absolute change from 1×"]
    assert np.isnan(figure.axes[1].lines[0].get_ydata()[:3]).all()
