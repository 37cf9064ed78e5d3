"""A figure with a frozen layout keeps it and gives the same bytes."""

from io import BytesIO

import numpy as np
from matplotlib.figure import Figure

from se_probe.figures.frame import freeze_layout
from se_probe.figures.style import house_style


def drawn(nudge=0.0):
    figure = Figure(figsize=(4, 2), layout="constrained")
    for axes in figure.subplots(1, 2):
        axes.imshow(np.eye(3))
    freeze_layout(figure)
    first, second = figure.axes
    first.set_position([value + nudge for value in first.get_position(original=True).bounds])
    return figure, second


def test_panels_stay_where_they_were_laid_out():
    figure, second = drawn()
    before = second.get_position(original=True).bounds
    second.set_ylabel("a label\nthat needs\nmuch room", fontsize=30)
    figure.draw_without_rendering()
    np.testing.assert_array_equal(second.get_position(original=True).bounds, before)


def test_noise_of_the_solver_does_not_reach_the_file():
    contents = []
    for nudge in (0.0, 1e-13):
        figure, _ = drawn(nudge)
        freeze_layout(figure)
        stream = BytesIO()
        with house_style():
            figure.savefig(stream, format="svg", metadata={"Date": None})
        contents.append(stream.getvalue())
    assert contents[0].count(b"<image") == 2
    assert contents[0] == contents[1]
