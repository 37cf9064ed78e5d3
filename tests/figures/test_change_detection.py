"""Areas and limits are the table's; the change of accuracy is left out where it is unknown."""

import numpy as np
import pandas as pd

from se_probe.figures.change_detection import change_detection_figure
from tests.figures.tables import titles

SCORES = ("gates", "pooled features", "softmax", "energy")


def scores(top1=-0.25):
    rng = np.random.default_rng(0)
    rows = []
    for condition in ("noise 1", "crop 2"):
        for score in SCORES:
            area = rng.uniform(0.3, 0.9)
            limits = {"auc": area, "auc_ci_low": area - 0.1, "auc_ci_high": area + 0.1}
            accuracy = {"top1_change": top1, "top1_ci_low": top1 - 0.1, "top1_ci_high": top1 + 0.1}
            rows.append({"condition": condition, "score": score, "site": "all sites", **limits, **accuracy})
    return pd.DataFrame(rows)


def test_each_score_has_its_areas_and_limits():
    table = scores()
    left, right = change_detection_figure(table, demo=False).axes
    for line, bars, name in zip(left.lines, left.collections, SCORES, strict=False):
        rows = table[table["score"] == name]
        np.testing.assert_array_equal(line.get_xdata(), rows["auc"])
        ends = np.array([segment[:, 0] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, rows[["auc_ci_low", "auc_ci_high"]])
    np.testing.assert_allclose(right.lines[0].get_xdata(), [-25, -25])
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["noise 1", "crop 2"]


def test_unknown_accuracy_has_no_panel():
    figure = change_detection_figure(scores(np.nan), demo=False)
    assert titles(figure) == ["area under the curve"]
