"""Names beside the points of a scatter, where there is room for them."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from se_probe.figures import style

NAME_SIZE = 6
RADII = (4, 9, 15, 22, 30)
DIRECTIONS = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
"""Across and up; slanting first, since intervals run the other ways."""
POINT_SIDE = 5  # pixels at 100 dpi that a point's marker covers


def name_points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], names: Sequence[str]) -> None:
    """Write each name near its point, clear of other names and points, with a thin line where it lies further off.

    The figure must be laid out. A name without any room lies over others at its point: none is left out.
    """
    places = axes.transData.transform(np.column_stack([x, y]))
    half = POINT_SIDE / 2
    taken = [Bbox.from_bounds(left - half, below - half, POINT_SIDE, POINT_SIDE) for left, below in places]
    for point, name in zip(zip(x, y, strict=True), names, strict=True):
        taken.append(_placed(axes, point, name, taken).get_window_extent())


def _placed(axes: Axes, point: tuple[float, float], name: str, taken: Sequence[Bbox]) -> Annotation:
    frame = axes.get_window_extent()
    for offset in _offsets():
        label = _label(axes, point, name, offset)
        box = Annotation.get_window_extent(label)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(box.overlaps(other) for other in taken):
            return label
        label.remove()
    return _label(axes, point, name, (RADII[0], 0))


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
