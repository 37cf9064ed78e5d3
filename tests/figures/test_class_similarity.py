"""Tree and matrix agree: leaves lie at the rows of their classes, and cells are the distances."""

import numpy as np

from se_probe.analysis.similarity import class_similarity, cluster_classes, pair_table
from se_probe.figures.class_similarity import class_similarity_matrix
from tests.analysis.raw_recording import mixed_recording
from tests.figures.tables import texts

SIMILARITY = class_similarity(mixed_recording(), "SE_2_1")
CLUSTERING = cluster_classes(SIMILARITY)
PAIRS = pair_table(SIMILARITY, CLUSTERING)


def _draw(demo=False):
    return class_similarity_matrix(PAIRS, CLUSTERING.linkage, site="SE_2_1", demo=demo)


def test_cells_are_the_distances_of_the_classes_named():
    _, matrix, _ = _draw().axes
    names = [label.get_text() for label in matrix.get_yticklabels()]
    expected = SIMILARITY["distance"].sel({"class": names, "other": names})
    np.testing.assert_array_equal(matrix.images[0].get_array(), expected)


def test_the_two_closest_classes_are_joined_at_their_rows_and_distance():
    tree, matrix, _ = _draw().axes
    closest = CLUSTERING.linkage[0]
    names = [str(SIMILARITY["class"].values[int(leaf)]) for leaf in closest[:2]]
    rows = [label.get_text() for label in matrix.get_yticklabels()]
    expected = sorted(rows.index(name) for name in names)
    joints = [(sorted({*line.get_ydata()}), max(line.get_xdata())) for line in tree.lines]
    assert (expected, closest[2]) in joints
    assert tree.get_ylim() == (5.5, -0.5)
    assert matrix.get_ylim() == (5.5, -0.5)
    assert tree.get_xlim()[1] == 0


def test_words():
    figure = _draw(demo=True)
    assert figure.axes[1].get_title(loc="left") == "SE_2_1"
    assert figure.axes[2].get_ylabel() == "distance, gate units"
    assert "demo stimuli, not photographs" in texts(figure)
