"""A pen that draws in an object's own coordinates, and transforms the strokes to the object's pose in the picture.

The object's coordinates: x to the right, y down, the standard extent within [-1, 1] on both axes.
"""

import math
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

HALF_EXTENT = 0.38
"""Half the side of a standard object (scale 1), in sides of the picture."""

_TURN = 2 * np.pi * np.arange(40) / 40
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
_SPLINE_STEPS = np.arange(6)[:, None, None] / 6


def shaded(colour: Colour, factor: float) -> Colour:
    """Darken a colour (factor below 1), or lighten it towards white (factor 1 to 2)."""
    if factor > 1:
        return mixed(colour, (255, 255, 255), factor - 1)
    red, green, blue = (round(channel * factor) for channel in colour)
    return red, green, blue


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours; `share` (0 to 1) is that of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def mirrored(points: Sequence[Point]) -> list[Point]:
    """Return points flipped left to right in reverse order: the other half of a symmetric outline."""
    return [(-x, y) for x, y in reversed(points)]


class Pen:
    """Draws filled shapes in an object's frame on a transparent square picture.

    Args:
        side: side of the picture in its own pixels.
        scale: object size, 1 for the standard one.
        centre: where the object's origin goes, in sides of the picture from the top left.
        rotation: degrees, counterclockwise.
        mirror: whether the object is flipped left to right before it is turned.
        seed: seeds `rng`, the source of an object's small irregularities.
    """

    def __init__(self, side: int, *, scale: float, centre: Point, rotation: float, mirror: bool, seed: int) -> None:
        self.picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        self.rng = random.Random(seed)
        self._draw = ImageDraw.Draw(self.picture)
        self._unit = HALF_EXTENT * scale * side
        cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
        flip = -1.0 if mirror else 1.0
        self._matrix = self._unit * np.array([[flip * cosine, -flip * sine], [sine, cosine]])
        self._origin = side * np.array(centre)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill the polygon with these corners."""
        self._fill(np.asarray(points, dtype=float), colour)

    def smooth(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill the closed Catmull-Rom curve through these points."""
        self._fill(_closed_curve(np.asarray(points, dtype=float)), colour)

    def ellipse(self, centre: Point, radii: Point, colour: Colour, *, turn: float = 0.0) -> None:
        """Fill an ellipse with these radii, turned clockwise by `turn` degrees."""
        cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        points = _CIRCLE * radii @ np.array([[cosine, sine], [-sine, cosine]]) + centre
        self._fill(points, colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw an open line of this width (in object units) with round joints and ends."""
        self._line(np.asarray(points, dtype=float), width, colour)

    def curve(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw an open smooth line through these points."""
        padded = [points[0], *points, points[-1]]
        self._line(_open_curve(np.asarray(padded, dtype=float)), width, colour)

    def _line(self, points: NDArray[np.float64], width: float, colour: Colour) -> None:
        corners = points @ self._matrix + self._origin
        pixels = max(1, round(width * self._unit))
        self._draw.line(corners.ravel().tolist(), fill=colour, width=pixels, joint="curve")
        for x, y in corners[[0, -1]]:
            self._draw.circle((x, y), pixels / 2, fill=colour)

    def _fill(self, points: NDArray[np.float64], colour: Colour) -> None:
        corners = points @ self._matrix + self._origin
        self._draw.polygon(corners.ravel().tolist(), fill=colour)


def _closed_curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    before, after, beyond = (np.roll(points, shift, axis=0) for shift in (1, -1, -2))
    return _catmull_rom(before, points, after, beyond)


def _open_curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    inner = _catmull_rom(points[:-3], points[1:-2], points[2:-1], points[3:])
    return np.concatenate([inner, points[-1:]])


def _catmull_rom(
    before: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64], beyond: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points of the uniform Catmull-Rom spline (Catmull and Rom 1974), six a segment."""
    t = _SPLINE_STEPS
    slope = end - before
    bend = 2 * before - 5 * start + 4 * end - beyond
    twist = 3 * start - before - 3 * end + beyond
    steps = start + 0.5 * (slope * t + bend * t**2 + twist * t**3)
    return steps.swapaxes(0, 1).reshape(-1, 2)
