"""Figures of changed images hold the values of their tables, and leave out what is unknown."""

import numpy as np
import pandas as pd

from se_probe.figures.changes import change_detection_figure, change_images, change_response
from tests.figures.tables import texts, titles

SCORES = ("gates", "pooled features", "softmax", "energy")


def test_pictures_are_in_rows_of_eight_for_each_image():
    conditions = ["plain", *(f"noise {place}" for place in range(1, 10))]
    rng = np.random.default_rng(0)
    pictures = {
        (path, name): rng.integers(0, 255, (8, 8, 3), dtype=np.uint8) for path in ("a", "b") for name in conditions
    }
    listed = pd.DataFrame([(*key, "pug") for key in pictures], columns=["path", "condition", "class"])
    missing = pictures.pop(("b", "noise 9"))
    figure = change_images(listed, pictures, demo=False)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 4 * 8
    assert [axes.get_title(loc="left") for axes in shown] == [*conditions, *conditions[:-1]]
    np.testing.assert_array_equal(shown[0].images[0].get_array(), pictures["a", "plain"])
    np.testing.assert_array_equal(shown[11].images[0].get_array(), pictures["b", "noise 1"])
    assert not any(np.array_equal(axes.images[0].get_array(), missing) for axes in shown)


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
