"""Names find room beside their points, with a line to the point where they lie further off, and none is left out."""

from itertools import combinations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from se_probe.figures.point_names import name_points


def named(x, y, size=(3.5, 3)):
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.plot(x, y, "o")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    names = [f"SE_{place}" for place in range(len(x))]
    name_points(axes, np.asarray(x), np.asarray(y), names)
    return axes, names


def test_crowded_names_do_not_overlap_and_stay_inside():
    rng = np.random.default_rng(0)
    axes, names = named(0.5 + 0.06 * rng.normal(size=12), 0.5 + 0.06 * rng.normal(size=12))
    assert [label.get_text() for label in axes.texts] == names
    boxes = [Text.get_window_extent(label) for label in axes.texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    assert any(label.arrow_patch is not None for label in axes.texts)


def test_a_lone_point_needs_no_line_and_one_at_the_edge_is_named_inwards():
    axes, _ = named([0.5, 0.999], [0.5, 0.999])
    middle, corner = axes.texts
    assert middle.arrow_patch is None
    assert (middle.get_ha(), middle.get_va()) == ("left", "bottom")
    assert (corner.get_ha(), corner.get_va()) == ("right", "top")


def test_without_any_room_a_name_is_still_there():
    axes, names = named([0.5] * 60, [0.5] * 60, size=(1.2, 1))
    assert len(axes.texts) == len(names)
