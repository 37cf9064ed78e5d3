"""The band is the mean plus and minus one standard deviation."""

import numpy as np

from se_probe.figures import role_of_excitation, within_class
from tests.figures.tables import FOUR, PAPER_PANELS, curves, legend_names, texts

TWO = ["goldfish", "airliner"]


def test_line_and_band_are_the_data():
    table = curves(PAPER_PANELS[:2], TWO, reference=None)
    figure = within_class(table, demo=False)
    for axes, site in zip(figure.axes, PAPER_PANELS[:2], strict=True):
        for name, line, band in zip(TWO, axes.lines, axes.collections, strict=True):
            rows = table[(table["site"] == site) & (table["class"] == name)]
            np.testing.assert_array_equal(line.get_ydata(), rows["mean"])
            corners = band.get_paths()[0].vertices
            for position, mean, std in zip(rows["position"], rows["mean"], rows["std"], strict=True):
                heights = corners[corners[:, 0] == position, 1]
                np.testing.assert_allclose([heights.min(), heights.max()], [mean - std, mean + std], rtol=1e-12)


def test_a_band_ends_at_zero_and_one_and_the_note_counts_where():
    table = curves(classes=TWO, reference=None).assign(std=0.6)
    figure = within_class(table, demo=False)
    corners = np.concatenate([band.get_paths()[0].vertices[:, 1] for band in figure.axes[0].collections])
    assert (corners.min(), corners.max()) == (0, 1)
    beyond = int(((table["mean"] - 0.6 < 0) | (table["mean"] + 0.6 > 1)).sum())
    assert f"Bands end at 0 and 1; at {beyond} of {len(table)} points mean ± s.d. goes beyond." in texts(figure)


def test_one_image_has_a_line_and_no_band():
    axes = within_class(curves(classes=TWO, reference=None, count=1), demo=False).axes[0]
    assert [line.get_label() for line in axes.lines] == TWO
    assert len(axes.collections) == 0


def test_words():
    figure = within_class(curves(classes=TWO, reference=None), demo=True)
    assert figure.get_suptitle() == "Within-class variation"
    assert figure.get_supylabel() == "gate: mean ± s.d."
    assert legend_names(figure) == TWO
    assert "demo stimuli, not photographs" in texts(figure)


def test_class_looks_the_same_in_both_figures():
    within = within_class(curves(classes=TWO, reference=None), demo=False, order=FOUR).axes[0]
    between = role_of_excitation(curves(), demo=False).axes[0]
    looks = {line.get_label(): (line.get_color(), line.get_marker()) for line in between.lines}
    assert [(line.get_color(), line.get_marker()) for line in within.lines] == [looks[name] for name in TWO]
