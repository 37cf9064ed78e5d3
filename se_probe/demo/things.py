"""Draw the artefacts of the demo: airliner, hourglass, umbrella.

Every function takes the pen, the colour and two proportions in [-1, 1] that vary the shape.
"""

import math

from se_probe.demo.pen import Colour, Pen, Point, mirrored, mixed, shaded

GLASS: Colour = (214, 232, 238)


def airliner(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """An airliner in flight from the side, nose to the left; the build sets the hull's and the wing's size."""
    hull, wing = 0.14 + 0.025 * build[0], 0.62 + 0.1 * build[1]
    dark, window = shaded(colour, 0.55), mixed((40, 62, 92), colour, 0.15)
    livery = mixed(shaded(colour, 0.6), (30, 70, 150), 0.45)
    pen.polygon([(-0.02, -0.06), (0.28, -0.5 * wing), (0.4, -0.5 * wing), (0.24, -0.04)], shaded(colour, 0.7))
    pen.polygon([(0.52, -0.05), (0.82, -0.66), (1.0, -0.66), (0.9, 0.0)], livery)
    upper = [(-1.0, 0.03), (-0.93, -0.07), (-0.8, -hull), (-0.3, -hull - 0.02), (0.4, -hull - 0.02), (0.96, -0.08)]
    pen.smooth([*upper, (0.98, -0.02), (0.5, hull - 0.01), (-0.3, hull), (-0.8, hull - 0.01), (-0.96, 0.09)], colour)
    belly = [(-0.96, 0.06), (-0.2, 0.07), (0.5, 0.06), (0.95, -0.02), (0.5, hull - 0.01), (-0.3, hull)]
    pen.smooth([*belly, (-0.8, hull - 0.01)], shaded(colour, 0.78))
    pen.line([(-0.9, 0.035), (0.84, 0.02)], 0.035, livery)
    for step in range(13):
        pen.ellipse((-0.68 + 0.1 * step, -0.055), (0.026, 0.032), window)
    pen.polygon([(-0.92, -0.055), (-0.86, -0.1), (-0.78, -0.1), (-0.78, -0.03), (-0.9, -0.025)], window)
    pen.polygon([(0.7, 0.0), (0.94, 0.2), (1.04, 0.2), (0.96, -0.02)], dark)
    pen.ellipse((-0.02, 0.3), (0.17, 0.085), shaded(colour, 0.62))
    pen.ellipse((-0.16, 0.3), (0.035, 0.075), (30, 32, 38))
    pen.polygon([(-0.26, 0.06), (0.36, wing + 0.06), (0.54, wing + 0.06), (0.26, 0.05)], shaded(colour, 0.86))
    pen.polygon([(0.1, 0.05), (0.47, wing + 0.06), (0.54, wing + 0.06), (0.26, 0.05)], dark)


def hourglass(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """An hourglass with frame and sand of the colour; the build sets its width and how far the sand has run."""
    wide, run = 0.5 + 0.06 * build[0], 0.5 + 0.3 * build[1]
    for x in (-wide - 0.08, wide + 0.08):
        pen.line([(x, -0.86), (x, 0.86)], 0.075, shaded(colour, 0.55))
    pen.polygon([*_bulb(wide, -0.82), *_bulb(wide, 0.82)], GLASS)
    _sand(pen, wide, run, mixed(shaded(colour, 1.2), (236, 204, 140), 0.4))
    for side in (-1, 1):
        outline = [(side * x, y) for x, y in _outline(wide)]
        pen.line(outline, 0.035, shaded(GLASS, 0.62))
    pen.curve([(-0.62 * wide, -0.66), (-0.62 * wide, -0.46), (-0.4 * wide, -0.28)], 0.05, (255, 255, 255))
    for y in (-0.9, 0.9):
        end = wide + 0.22
        rims = [(-end, y - 0.06), (0.0, y - 0.1), (end, y - 0.06), (end, y + 0.06), (0.0, y + 0.1), (-end, y + 0.06)]
        pen.smooth(rims, shaded(colour, 0.7))
        pen.line([(-wide - 0.16, y - 0.03), (wide + 0.16, y - 0.03)], 0.04, shaded(colour, 1.15))


def _sand(pen: Pen, wide: float, run: float, colour: Colour) -> None:
    """Draw the sand, of which the share `run` has fallen: the rest above, the stream, the heap below."""
    level = -0.72 + 0.5 * run
    half = wide * _bulb_width(level / -0.82)
    funnel = [(0.92 * half, level), (0.5 * half, 0.4 * level), (0.03, 0.0)]
    pen.polygon([*funnel, *mirrored(funnel)], colour)
    pen.line([(0.0, -0.05), (0.0, 0.7)], 0.035, colour)
    heap = 0.76 - 0.5 * run
    slope = [(0.4 * wide, 0.5 * (heap + 0.62)), (0.84 * wide, 0.62), (0.8 * wide, 0.8)]
    pen.smooth([(0.0, heap), *slope, (0.0, 0.83), *mirrored(slope)], colour)


def _bulb_width(height: float) -> float:
    """Half-width of the glass, 0 to 1, at a height from the neck (0) to the plate (1)."""
    return 0.07 + 0.93 * math.pow(math.sin(min(height, 1.0) * math.pi / 2), 1.4)


def _outline(wide: float) -> list[Point]:
    steps = [step / 10 for step in range(-10, 11)]
    return [(wide * _bulb_width(abs(step)), 0.82 * step) for step in steps]


def _bulb(wide: float, plate: float) -> list[Point]:
    steps = [step / 10 for step in range(11)]
    right = [(wide * _bulb_width(step), plate * step) for step in steps]
    return [*right, *mirrored(right)]


def umbrella(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """An open umbrella from the side; the build sets the dome's height and the handle's length."""
    top, end = -0.74 - 0.1 * build[0], 0.8 + 0.08 * build[1]
    wood = (84, 58, 40)
    pen.line([(0.0, top - 0.16), (0.0, top)], 0.05, wood)
    pen.line([(0.0, -0.1), (0.0, end)], 0.06, wood)
    pen.curve(
        [(0.0, end - 0.02), (0.05, end + 0.14), (0.16, end + 0.17), (0.26, end + 0.1), (0.27, end - 0.02)], 0.08, wood
    )
    edges, tints = [-0.98, -0.62, -0.22, 0.22, 0.62, 0.98], (0.66, 0.95, 1.22, 0.95, 0.66)
    for left, right, tint in zip(edges[:-1], edges[1:], tints, strict=True):
        pen.polygon(_panel(left, right, top), shaded(colour, tint))
    for edge in edges[1:-1]:
        pen.line(_rib(edge, top), 0.022, shaded(colour, 0.42))
    for edge in edges:
        pen.ellipse((edge, 0.03), (0.03, 0.03), wood)


def _rib(edge: float, top: float) -> list[Point]:
    angles = [step * math.pi / 20 for step in range(11)]
    return [(edge * math.sin(angle), top * math.cos(angle)) for angle in angles]


def _panel(left: float, right: float, top: float) -> list[Point]:
    """One panel of the dome: up a rib, down the next, and back along the scalloped hem."""
    middle, half = (left + right) / 2, (right - left) / 2
    hem = [(middle + half * math.cos(a), -0.11 * math.sin(a)) for a in (step * math.pi / 8 for step in range(9))]
    return [*_rib(left, top)[::-1], *_rib(right, top), *hem]
