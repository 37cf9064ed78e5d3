"""Names beside the points of a scatter plot."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from se_probe.figures import style

NAME_SIZE = 6
RADII = (4, 9, 15, 22, 30, 40, 52)
DIRECTIONS = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
"""Across and up; slanting first, since intervals run the other ways."""
POINT_SIDE, BAR_SIDE = 5, 1
"""Pixels at 100 dpi: side of a point's marker, half the width of a bar."""
Bars = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def name_points(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], names: Sequence[str], bars: Sequence[Bars] = ()
) -> None:
    """Write each name near its point, clear of points, interval bars and other names.

    A thin line joins a distant name with its point. The figure must be laid out. `bars` are interval bars as (x from,
    x to, y from, y to), in data units. A name for which there is no room overlaps others: none is left out.
    """
    half = POINT_SIDE / 2
    points = axes.transData.transform(np.column_stack([x, y]))
    taken = [Bbox.from_bounds(left - half, below - half, POINT_SIDE, POINT_SIDE) for left, below in points]
    for left, right, low, high in bars:
        ends = axes.transData.transform(np.column_stack([np.r_[left, right], np.r_[low, high]]))
        for (x0, y0), (x1, y1) in zip(ends[: len(x)], ends[len(x) :], strict=True):
            if np.isfinite([x0, y0, x1, y1]).all():
                taken.append(Bbox([[x0 - BAR_SIDE, y0 - BAR_SIDE], [x1 + BAR_SIDE, y1 + BAR_SIDE]]))
    for point, name in zip(zip(x, y, strict=True), names, strict=True):
        taken.append(_box(_placed(axes, point, name, taken)))


def _placed(axes: Axes, point: tuple[float, float], name: str, taken: Sequence[Bbox]) -> Annotation:
    frame = axes.get_window_extent()
    for offset in _offsets():
        label = _label(axes, point, name, offset)
        box = _box(label)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(box.overlaps(other) for other in taken):
            return label
        label.remove()
    return _label(axes, point, name, (RADII[0], 0))


def _box(label: Annotation) -> Bbox:
    """The extent of the name alone, without the line to its point, which may cross others."""
    label.get_window_extent()  # positions the name
    return Text.get_window_extent(label)


def _offsets() -> Iterator[tuple[float, float]]:
    for radius in RADII:
        for across, up in DIRECTIONS:
            length = np.hypot(across, up)
            yield radius * across / length, radius * up / length


def _label(axes: Axes, point: tuple[float, float], name: str, offset: tuple[float, float]) -> Annotation:
    across, up = offset
    far = np.hypot(across, up) > RADII[1]
    return axes.annotate(
        name,
        point,
        xytext=offset,
        textcoords="offset points",
        ha="left" if across > 0.1 else "right" if across < -0.1 else "center",
        va="bottom" if up > 0.1 else "top" if up < -0.1 else "center",
        fontsize=NAME_SIZE,
        color=style.TEXT,
        arrowprops={"arrowstyle": "-", "color": style.QUIET, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        if far
        else None,
        zorder=5,
    )
