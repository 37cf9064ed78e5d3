"""The matrices over steps are the table's, and first steps are marked."""

import numpy as np
import pandas as pd

from se_probe.figures.steps import steps_figure
from tests.figures.tables import titles


def test_cells_and_marks():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        [
            {"label": label, "site": site, "sd": rng.uniform(0.01, 0.1), "dynamic": rng.uniform(), "specificity": 0.5}
            for label in ("epoch-0", "epoch-10", "epoch-20")
            for site in ("SE_2_1", "SE_3_1")
        ]
    )
    events = pd.DataFrame({"site": ["SE_2_1", "SE_3_1"], "first_label": [None, "epoch-10"]})
    figure = steps_figure(table, events, demo=False)
    assert titles(figure)[:3] == ["SD over images", "channels that move", "specificity ω²"]
    for axes, column in zip(figure.axes, ("sd", "dynamic", "specificity"), strict=False):
        np.testing.assert_allclose(axes.images[0].get_array(), table[column].to_numpy().reshape(3, 2).T)
        assert (list(axes.lines[0].get_xdata()), list(axes.lines[0].get_ydata())) == ([1], [1])
