"""Every image is a dot at its gate in the row of its class."""

import numpy as np
import pytest

from se_probe.analysis.gates import channel_gates
from se_probe.figures.channel_distribution import channel_distribution
from tests.analysis.raw_recording import mixed_recording
from tests.figures.tables import texts, titles

RECORDING = mixed_recording()


def _dots(axes):
    return [line for line in axes.lines if line.get_marker() == "o" and line.get_linestyle() == "None"]


def test_dots_and_medians_are_the_data():
    table = channel_gates(RECORDING, "SE_2_1", 3)
    axes = channel_distribution(table, demo=False).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == RECORDING.chosen
    for row, (dots, name) in enumerate(zip(_dots(axes), RECORDING.chosen, strict=True)):
        gates = table.loc[table["class"] == name, "gate"]
        np.testing.assert_array_equal(dots.get_xdata(), gates)
        assert np.abs(dots.get_ydata() - row).max() < 0.3
        medians = [line for line in axes.lines if line.get_linewidth() == 1.4]
        assert medians[row].get_xdata() == pytest.approx([np.median(gates)] * 2)


def test_scale_is_the_range_of_the_gate():
    table = channel_gates(RECORDING, "SE_3_1", 0)
    assert channel_distribution(table, demo=False).axes[0].get_xlim() == (-0.03, 1.03)
    unbounded = channel_distribution(table.assign(activation="unbounded"), demo=False).axes[0].get_xlim()
    assert unbounded[1] - unbounded[0] < 0.01


def test_words():
    figure = channel_distribution(channel_gates(RECORDING, "SK_4_1", 2, branch=1), demo=True)
    assert titles(figure) == ["SK_4_1 · branch 1 · channel 2"]
    assert "Dot: an image. Box: quartiles and median. Whiskers: range." in texts(figure)
    assert "demo stimuli, not photographs" in texts(figure)
    assert titles(channel_distribution(channel_gates(RECORDING, "SE_2_1", 0), demo=False)) == ["SE_2_1 · channel 0"]
