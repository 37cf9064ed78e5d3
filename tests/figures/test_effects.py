"""What the figures of effects show is what their tables hold."""

import numpy as np
import pandas as pd
import pytest

from se_probe.analysis.effects import effect_tables
from se_probe.figures import effect_agreement, effects_by_site, selectivity_effect
from se_probe.figures.effects import MOST_PANELS
from tests.analysis.effect_recording import with_effects


@pytest.fixture(scope="module")
def tables():
    return effect_tables(with_effects(broken=["SE_3_1"]))


def points(axes):
    (line,) = [line for line in axes.lines if line.get_linestyle() == "None"]
    return line


def test_agreement_shows_every_pair_and_marks_the_site_that_is_not_used(tables):
    sample = tables["effect_sample.csv"]
    figure = effect_agreement(sample, demo=False)
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == ["SE_2_1", "SE_3_1", "SK_4_1"]
    for axes, (_, part) in zip(figure.axes, sample.groupby("site"), strict=False):
        np.testing.assert_array_equal(points(axes).get_xdata(), part["first_order"])
        np.testing.assert_array_equal(points(axes).get_ydata(), part["exact"])
    colours = [points(axes).get_color() for axes in figure.axes[:3]]
    assert colours[0] == colours[2] != colours[1]
    assert f"r {sample['correlation'].iloc[0]:.3f}" in figure.axes[0].texts[0].get_text()
    assert "site that is not used" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_effects_by_site_shows_the_numbers_of_the_table(tables):
    table = tables["effect_sites.csv"]
    size, half, selective = effects_by_site(table, demo=True).axes
    np.testing.assert_array_equal(size.lines[0].get_ydata(), table["effect"])
    np.testing.assert_array_equal(half.lines[0].get_ydata(), table["half_share"])
    drawn = [list(line.get_ydata()) for line in selective.lines]
    assert table["correlation"].tolist() in drawn
    assert table["partial"].tolist() in drawn


def test_selectivity_has_a_point_a_channel(tables):
    channels = tables["effect_channels.csv.gz"]
    figure = selectivity_effect(channels, demo=False)
    part = channels[channels["site"] == "SK_4_1"]
    np.testing.assert_array_equal(points(figure.axes[1]).get_ydata(), part["effect"])
    assert figure.axes[1].get_title(loc="right") == f"Spearman {part['site_correlation'].iloc[0]:+.2f}"


def test_many_sites_are_spread_evenly(tables):
    part = tables["effect_channels.csv.gz"].query("site == 'SE_2_1'")
    many = pd.concat([part.assign(site=f"SE_{number}_1") for number in range(40)])
    figure = selectivity_effect(many, demo=False)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert len(titles) == MOST_PANELS
    assert (titles[0], titles[-1]) == ("SE_0_1", "SE_39_1")
    assert any("16 of 40 sites" in text.get_text() for text in figure.texts)
