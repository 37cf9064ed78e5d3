"""The matrix of shifts is the table's, and sites without a shift are marked."""

import numpy as np
import pandas as pd

from se_probe.figures.change_response import change_response
from tests.figures.tables import texts


def sites(pattern="moves"):
    rng = np.random.default_rng(0)
    rows = [
        {"condition": condition, "site": site, "moved_sd": rng.uniform(0, 2), "pattern": pattern}
        for condition in ("noise 1", "noise 3", "crop 2")
        for site in ("SE_2_1", "SE_3_1")
    ]
    return pd.DataFrame(rows)


def test_cells_are_the_shifts_by_change_and_site():
    table = sites()
    figure = change_response(table, demo=True)
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), table["moved_sd"].to_numpy().reshape(3, 2))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["noise 1", "noise 3", "crop 2"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["SE_2_1", "SE_3_1"]
    assert "demo stimuli, not photographs" in texts(figure)
    assert not any("White dot" in text for text in texts(figure))


def test_sites_without_a_shift_have_a_dot():
    table = sites()
    table.loc[3, "pattern"] = "no shift found"
    figure = change_response(table, demo=False)
    dots = figure.axes[0].lines[0]
    assert (list(dots.get_xdata()), list(dots.get_ydata())) == ([1], [1])
    assert any("White dot" in text for text in texts(figure))


def test_gates_that_do_not_move_at_all_are_drawn():
    change_response(sites("cannot be judged").assign(moved_sd=np.nan), demo=False)
