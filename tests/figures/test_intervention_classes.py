"""The heat map of classes is the table's, centred on no change, with the most hurt at the top."""

import numpy as np
import pandas as pd

from se_probe.figures.intervention_classes import SIGNIFICANT, intervention_classes
from tests.analysis.ablated import SITES
from tests.figures.intervention_tables import intervention_tables
from tests.figures.tables import texts

_, TABLE = intervention_tables(hurt={"class3": 3.0, "class7": -1.0})
ALONE = TABLE[TABLE["scope"] == "site"]


def test_cells_are_the_data_and_the_most_hurt_class_is_at_the_top():
    axes, _ = intervention_classes(TABLE, demo=False).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert (names[0], names[-1]) == ("class3", "class7")
    assert [label.get_text() for label in axes.get_xticklabels()] == list(SITES)
    cells = axes.images[0].get_array()
    for row in ALONE.to_dict("records"):
        assert cells[names.index(row["class"]), SITES.index(row["sites"])] == row["nll_change"]
    low, high = axes.images[0].get_clim()
    assert low == -high < 0


def test_cells_whose_interval_excludes_zero_have_a_dot():
    figure = intervention_classes(TABLE, demo=True)
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
    part = TABLE.assign(nll_change=TABLE["nll_change"].where(TABLE["class"] != "class0"))
    names = [label.get_text() for label in intervention_classes(part, demo=False).axes[0].get_yticklabels()]
    assert len(names) == 9
    assert np.isfinite(intervention_classes(part, demo=False).axes[0].images[0].get_array()).all()


def test_a_measure_of_which_more_is_better_shows_its_fall():
    own = ALONE.rename(columns=lambda name: name.replace("nll", "metric"))
    own = own.assign(metric="psnr", unit="dB", lower_is_better=False)
    for name in ("metric_change", "metric_ci_low", "metric_ci_high"):
        own[name] = -own[name]
    own = own.rename(columns={"metric_ci_low": "metric_ci_high", "metric_ci_high": "metric_ci_low"})
    plain, fallen = (intervention_classes(table, demo=False) for table in (ALONE, own))
    np.testing.assert_array_equal(*(figure.axes[0].images[0].get_array() for figure in (plain, fallen)))
    assert fallen.axes[1].get_ylabel() == "fall of psnr, dB"
