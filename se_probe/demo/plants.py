"""How the fruits and the mushroom of the demo are drawn: mushroom, strawberry, banana.

Every drawer takes the pen, the colour and two proportions in [-1, 1] that vary the shape.
"""

from se_probe.demo.pen import Colour, Pen, Point, mixed, shaded

LEAF: Colour = (74, 140, 58)


def mushroom(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """A mushroom with a cap of the given colour; the build sets the cap's height and the stem's width."""
    top, stem = -0.72 - 0.16 * build[0], 0.2 + 0.06 * build[1]
    flesh = (236, 226, 204)
    side = [(stem, 0.05), (stem + 0.02, 0.5), (stem + 0.14, 0.86)]
    pen.smooth([*side, (0.0, 0.98), *[(-x, y) for x, y in reversed(side)]], flesh)
    pen.smooth([(0.04, 0.1), (stem, 0.1), (stem + 0.02, 0.5), (stem + 0.12, 0.86), (0.1, 0.92)], shaded(flesh, 0.84))
    pen.smooth(
        [(-stem - 0.12, 0.36), (0.0, 0.24), (stem + 0.12, 0.36), (stem, 0.44), (0.0, 0.48), (-stem, 0.44)],
        shaded(flesh, 1.5),
    )
    pen.ellipse((0.0, 0.04), (0.86, 0.2), shaded(flesh, 0.8))
    for step in range(-4, 5):
        pen.line([(0.06 * step, 0.08), (0.17 * step, 0.19 - 0.012 * step * step)], 0.018, shaded(flesh, 0.58))
    half = [(0.5, 0.78 * top), (0.86, -0.34), (0.95, 0.04), (0.5, -0.02)]
    pen.smooth([(0.0, top), *half, (0.0, -0.05), *[(-x, y) for x, y in reversed(half)]], colour)
    pen.smooth([(-0.66, -0.3), (-0.44, 0.72 * top), (-0.1, 0.88 * top), (-0.3, -0.44)], shaded(colour, 1.16))
    _cap_spots(pen, top, mixed(shaded(colour, 1.8), (250, 246, 236), 0.7))


def _cap_spots(pen: Pen, top: float, colour: Colour) -> None:
    for x, height, radius in (
        (-0.62, 0.3, 0.1),
        (-0.25, 0.68, 0.13),
        (0.2, 0.42, 0.15),
        (0.58, 0.56, 0.09),
        (0.7, 0.2, 0.09),
        (-0.2, 0.22, 0.08),
    ):
        dx, size = pen.rng.uniform(-0.05, 0.05), pen.rng.uniform(0.8, 1.15) * radius
        pen.ellipse((x + dx, height * top), (size, 0.8 * size), colour)


def strawberry(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """A strawberry, tip down, with its leaves; the build sets its width and its length."""
    wide, tip = 0.7 + 0.08 * build[0], 0.92 + 0.1 * build[1]
    half = [(0.0, -0.46), (0.4, -0.54), (wide, -0.3), (0.92 * wide, 0.12), (0.36, 0.66), (0.1, tip)]
    pen.smooth([*half, *[(-x, y) for x, y in half[:0:-1]]], colour)
    pen.smooth(
        [(-0.8 * wide, -0.2), (-0.4, -0.4), (-0.25, 0.0), (-0.34, 0.44), (-0.66 * wide, 0.16)], shaded(colour, 1.14)
    )
    seed, pit = mixed(shaded(colour, 1.5), (250, 222, 120), 0.8), shaded(colour, 0.68)
    for row in range(6):
        y = -0.3 + 0.2 * row
        reach = wide * (0.86, 0.86, 0.76, 0.6, 0.42, 0.16)[row]
        for step in range(-2, 3):
            x = 0.3 * step + 0.15 * (row % 2)
            if abs(x) <= reach:
                pen.ellipse((x, y + 0.015), (0.05, 0.075), pit)
                pen.ellipse((x, y), (0.03, 0.052), seed)
    pen.curve([(0.0, -0.5), (0.03, -0.72), (0.14, -0.94)], 0.09, shaded(LEAF, 0.8))
    for x, y in ((-0.68, -0.44), (0.7, -0.42), (-0.42, -0.12), (0.44, -0.1), (0.0, -0.04)):
        pen.polygon(_leaf((0.0, -0.56), (x, y), 0.3), LEAF)
        pen.line([(0.0, -0.56), (0.8 * x, -0.56 + 0.8 * (y + 0.56))], 0.025, shaded(LEAF, 0.66))


def _leaf(base: Point, tip: Point, width: float) -> list[Point]:
    along_x, along_y = tip[0] - base[0], tip[1] - base[1]
    side_x, side_y = -along_y * width, along_x * width
    middle_x, middle_y = base[0] + 0.45 * along_x, base[1] + 0.45 * along_y
    return [base, (middle_x + side_x, middle_y + side_y), tip, (middle_x - side_x, middle_y - side_y)]


def banana(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """A banana, its ends up; the build sets how much it bends and how thick it is."""
    bend, thick = 0.62 + 0.14 * build[0], 0.34 + 0.06 * build[1]
    outer = [(-0.95, -0.42), (-0.8, 0.02), (-0.42, bend - 0.16), (0.1, bend - 0.05), (0.58, bend - 0.28), (0.9, -0.18)]
    inner = [
        (0.82, -0.26),
        (0.5, bend - thick - 0.3),
        (0.08, bend - thick - 0.16),
        (-0.36, bend - thick - 0.28),
        (-0.72, -0.18),
        (-0.84, -0.46),
    ]
    ridge = [
        (-0.9, -0.4),
        (-0.74, -0.04),
        (-0.4, bend - 0.3 * thick - 0.2),
        (0.1, bend - 0.3 * thick - 0.1),
        (0.55, bend - 0.3 * thick - 0.3),
        (0.86, -0.2),
    ]
    brown = mixed((70, 48, 26), colour, 0.15)
    pen.polygon([(-0.97, -0.4), (-0.83, -0.45), (-0.86, -0.7), (-1.0, -0.7)], mixed(brown, colour, 0.45))
    pen.polygon([(-0.85, -0.66), (-0.87, -0.76), (-1.02, -0.74), (-1.0, -0.64)], brown)
    pen.smooth([*outer, *inner], colour)
    pen.smooth([*outer, *reversed(ridge)], shaded(colour, 0.8))
    pen.curve(ridge, 0.035, shaded(colour, 0.6))
    pen.curve([(x, y + 0.1) for x, y in reversed(inner[1:5])], 0.04, shaded(colour, 1.35))
    pen.smooth([(0.8, -0.22), (0.86, -0.3), (0.95, -0.26), (0.9, -0.14)], brown)
    for _ in range(5):
        x = pen.rng.uniform(-0.5, 0.6)
        pen.ellipse((x, bend - 0.3 - 0.5 * x * x + pen.rng.uniform(-0.08, 0.08)), (0.035, 0.018), brown)
