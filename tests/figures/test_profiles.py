"""Profiles over sites hold the numbers of their tables."""

import numpy as np
import pandas as pd

from se_probe.figures import style
from se_probe.figures.profiles import STATES, decodability, depth_profile, health_profile, known_factors, named_channels
from tests.figures.site_tables import SITES, hollow_places, line_data, site_table
from tests.figures.tables import legend_names, texts, titles

SHARE, CLASSES, IMAGES = style.COLOURS[0], style.COLOURS[4], style.COLOURS[2]


def test_lines_and_band_are_the_data():
    table = site_table()
    share, spread = depth_profile(table, demo=False, least_spread=0.02).axes
    np.testing.assert_array_equal(line_data(share, SHARE), table["omega_squared"])
    np.testing.assert_array_equal(line_data(spread, CLASSES), table["between_class_sd"])
    np.testing.assert_array_equal(line_data(spread, IMAGES), table["within_class_sd"])
    corners = share.collections[0].get_paths()[0].vertices
    for place, row in table.iterrows():
        heights = corners[corners[:, 0] == place, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], row[["ci_low", "ci_high"]].astype(float))


def test_the_least_spread_that_counts_is_drawn():
    _, spread = depth_profile(site_table(), demo=False, least_spread=0.034).axes
    assert (line_data(spread, style.QUIET) == 0.034).all()
    assert [text.get_text() for text in spread.texts] == ["hardly moves below"]


def test_sites_that_are_not_live_are_hollow_and_the_note_says_so():
    figure = depth_profile(
        site_table(verdicts=["live", "collapsed", "live", "live", "saturated"]), demo=False, least_spread=0.02
    )
    assert hollow_places(figure.axes[0], SHARE) == hollow_places(figure.axes[1], CLASSES) == [1, 4]
    assert "Hollow: most channels hardly move (collapsed or saturated)." in texts(figure)
    assert hollow_places(depth_profile(site_table(), demo=False, least_spread=0.02).axes[0], SHARE) == []


def test_words():
    figure = depth_profile(site_table(), demo=True, least_spread=0.02, caption="a network")
    assert figure.get_suptitle() == "Depth profile of class specificity"
    assert titles(figure) == ["share of variance", "standard deviation, gate units"]
    names = ["share between classes, ω²", "95 % interval", "between class means", "between images of a class"]
    assert legend_names(figure) == names
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == SITES
    assert {"demo stimuli, not photographs", "a network"} <= set(texts(figure))


def test_many_sites_take_a_wide_figure_and_missing_intervals_are_borne():
    names = [f"SE_{stage}_{block}" for stage in range(2, 6) for block in range(1, 14)]
    table = site_table(names).assign(low=np.nan, high=np.nan)
    figure = depth_profile(table, demo=False, least_spread=0.02)
    assert figure.get_figwidth() == style.DOUBLE_COLUMN
    assert len(figure.axes[1].get_xticklabels()) == 26
    assert depth_profile(site_table(), demo=False, least_spread=0.02).get_figwidth() == style.SINGLE_COLUMN


def test_bars_are_the_shares_of_channels_and_reach_one():
    table = site_table()
    axes = health_profile(table, demo=False).axes[0]
    heights = {}
    for bar in axes.patches:
        heights.setdefault(bar.get_facecolor(), []).append(bar.get_height())
    for (_, found), state in zip(heights.items(), STATES, strict=True):
        np.testing.assert_allclose(found, table[state])
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches[-len(table) :]]
    np.testing.assert_allclose(tops, 1)


def test_lines_are_the_shares_of_gates_with_two_standard_errors():
    table = site_table()
    axes = health_profile(table, demo=False).axes[1]
    np.testing.assert_array_equal(line_data(axes, style.COLOURS[4]), table["open_share"])
    np.testing.assert_array_equal(line_data(axes, style.COLOURS[0]), table["closed_share"])
    reach = np.array([segment[1, 1] - segment[0, 1] for segment in axes.collections[0].get_segments()])
    np.testing.assert_allclose(reach, 4 * table["open_share_error"])


def test_unbounded_gates_have_no_saturation():
    table = site_table().assign(open_share=np.nan, closed_share=np.nan)
    figure = health_profile(table, demo=False)
    assert titles(figure) == ["channels, share"]
    assert legend_names(figure) == ["moves", "still", "still, near 1", "still, near 0"]


def test_words_of_the_health_profile():
    figure = health_profile(site_table(), demo=True)
    assert figure.get_suptitle() == "Health profile of the gates"
    assert titles(figure) == ["channels, share", "single gates, share"]
    assert legend_names(figure)[4:] == ["gates near 1", "gates near 0"]
    assert "demo stimuli, not photographs" in texts(figure)


def test_lines_and_chance_are_the_data():
    table = site_table()
    accuracy, spread = decodability(table, demo=False).axes
    np.testing.assert_array_equal(line_data(accuracy, style.COLOURS[0]), table["accuracy"])
    np.testing.assert_array_equal(line_data(accuracy, style.QUIET), table["chance"])
    np.testing.assert_array_equal(line_data(spread, style.COLOURS[4]), table["between_class_sd"])
    corners = accuracy.collections[0].get_paths()[0].vertices
    for place, row in table.iterrows():
        heights = corners[corners[:, 0] == place, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], row[["ci_low", "ci_high"]].astype(float))


def test_words_and_hollow_sites():
    figure = decodability(site_table(verdicts=["collapsed", "live", "live", "live", "live"]), demo=True)
    assert titles(figure) == ["accuracy among 4 classes", "standard deviation, gate units"]
    assert hollow_places(figure.axes[0], style.COLOURS[0]) == [0]
    assert any(text.startswith("Hollow: most channels hardly move (collapsed).") for text in texts(figure))
    assert "demo stimuli, not photographs" in texts(figure)


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
