"""Words and factors: the figures hold the numbers of their tables."""

import numpy as np
import pandas as pd

from se_probe.figures import style
from se_probe.figures.meaning import known_factors, named_channels
from tests.figures.site_tables import SITES, hollow_places, line_data, site_table
from tests.figures.tables import legend_names, texts


def test_the_line_is_the_share_of_named_channels_beside_the_null():
    share = np.linspace(0, 0.8, len(SITES))
    table = site_table(verdicts=["live", "live", "collapsed", "live", "live"]).assign(named_share=share)
    figure = named_channels(table, demo=True)
    (axes,) = figure.axes
    np.testing.assert_array_equal(line_data(axes, style.COLOURS[0]), share)
    assert hollow_places(axes, style.COLOURS[0]) == [2]
    assert legend_names(figure) == ["channels with a word"]
    assert "demo stimuli, not photographs" in texts(figure)
    beside = named_channels(table.assign(null_named_share=share / 4), demo=False)
    np.testing.assert_array_equal(line_data(beside.axes[0], style.QUIET), share / 4)


def test_cells_are_the_shares_in_the_order_of_the_table():
    names = ["size", "ground", "all factors"]
    shares = np.array([[0.3, -0.02, 0.04], [0.02, 0.5, 0.1], [0.32, 0.51, 0.13]])
    rows = [(site, name, shares[j, i]) for i, site in enumerate(SITES[:3]) for j, name in enumerate(names)]
    figure = known_factors(pd.DataFrame(rows, columns=["site", "factor", "share"]), demo=False)
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), np.clip(shares, 0, None))
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert [label.get_text() for label in axes.get_xticklabels()] == SITES[:3]
    assert sorted(text.get_text() for text in axes.texts) == [".10", ".13", ".30", ".32", ".50", ".51"]
