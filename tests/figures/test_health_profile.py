"""The health profile stacks the shares of channels and draws those of single gates."""

import numpy as np

from se_probe.figures import style
from se_probe.figures.health_profile import FILLS, health_profile
from tests.figures.site_tables import line_data, site_table
from tests.figures.tables import legend_names, texts, titles


def test_bars_are_the_shares_of_channels_and_reach_one():
    table = site_table()
    axes = health_profile(table, demo=False).axes[0]
    heights = {}
    for bar in axes.patches:
        heights.setdefault(bar.get_facecolor(), []).append(bar.get_height())
    for (_, found), state in zip(heights.items(), FILLS, strict=True):
        np.testing.assert_allclose(found, table[state])
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches[-len(table) :]]
    np.testing.assert_allclose(tops, 1)


def test_lines_are_the_shares_of_gates_with_two_standard_errors():
    table = site_table()
    axes = health_profile(table, demo=False).axes[1]
    np.testing.assert_array_equal(line_data(axes, style.COLOURS[4]), table["open_share"])
    np.testing.assert_array_equal(line_data(axes, style.COLOURS[0]), table["closed_share"])
    reach = np.array([segment[1, 1] - segment[0, 1] for segment in axes.containers[0].lines[2][0].get_segments()])
    np.testing.assert_allclose(reach, 4 * table["open_share_error"])


def test_unbounded_gates_have_no_saturation():
    table = site_table().assign(open_share=np.nan, closed_share=np.nan)
    figure = health_profile(table, demo=False)
    assert titles(figure) == ["channels, share"]
    assert legend_names(figure) == ["moves", "still", "still, near 1", "still, near 0"]


def test_words():
    figure = health_profile(site_table(), demo=True)
    assert figure.get_suptitle() == "Health profile of the gates"
    assert titles(figure) == ["channels, share", "single gates, share"]
    assert legend_names(figure)[4:] == ["gates near 1", "gates near 0"]
    assert "demo stimuli, not photographs" in texts(figure)
