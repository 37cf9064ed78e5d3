"""Draw the plants and the landscape of the demo: mushroom, strawberry, banana, cliff.

Every function takes the pen, the colour and two proportions in [-1, 1] that vary the shape.
"""

from se_probe.demo.pen import Colour, Pen, Point, mirrored, mixed, shaded

LEAF: Colour = (74, 140, 58)
_FAR_LEFT = -2.6  # beyond the picture's edge at every scale


def mushroom(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """A mushroom with a cap of the given colour; the build sets the cap's height and the stem's width."""
    top, stem = -0.72 - 0.16 * build[0], 0.2 + 0.06 * build[1]
    flesh = (236, 226, 204)
    side = [(stem, 0.05), (stem + 0.02, 0.5), (stem + 0.14, 0.86)]
    pen.smooth([*side, (0.0, 0.98), *mirrored(side)], flesh)
    pen.smooth([(0.04, 0.1), (stem, 0.1), (stem + 0.02, 0.5), (stem + 0.12, 0.86), (0.1, 0.92)], shaded(flesh, 0.84))
    pen.smooth(
        [(-stem - 0.12, 0.36), (0.0, 0.24), (stem + 0.12, 0.36), (stem, 0.44), (0.0, 0.48), (-stem, 0.44)],
        shaded(flesh, 1.5),
    )
    pen.ellipse((0.0, 0.04), (0.86, 0.2), shaded(flesh, 0.8))
    for step in range(-4, 5):
        pen.line([(0.06 * step, 0.08), (0.17 * step, 0.19 - 0.012 * step * step)], 0.018, shaded(flesh, 0.58))
    half = [(0.5, 0.78 * top), (0.86, -0.34), (0.95, 0.04), (0.5, -0.02)]
    pen.smooth([(0.0, top), *half, (0.0, -0.05), *mirrored(half)], colour)
    pen.smooth([(-0.66, -0.3), (-0.44, 0.72 * top), (-0.1, 0.88 * top), (-0.3, -0.44)], shaded(colour, 1.16))
    _cap_spots(pen, top, mixed(shaded(colour, 1.8), (250, 246, 236), 0.7))


def _cap_spots(pen: Pen, top: float, colour: Colour) -> None:
    spots = [(-0.62, 0.3, 0.1), (-0.25, 0.68, 0.13), (0.2, 0.42, 0.15)]
    spots += [(0.58, 0.56, 0.09), (0.7, 0.2, 0.09), (-0.2, 0.22, 0.08)]
    for x, height, radius in spots:
        dx, size = pen.rng.uniform(-0.05, 0.05), pen.rng.uniform(0.8, 1.15) * radius
        pen.ellipse((x + dx, height * top), (size, 0.8 * size), colour)


def strawberry(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """A strawberry, tip down, with its leaves; the build sets its width and its length."""
    wide, tip = 0.7 + 0.08 * build[0], 0.92 + 0.1 * build[1]
    half = [(0.0, -0.46), (0.4, -0.54), (wide, -0.3), (0.92 * wide, 0.12), (0.36, 0.66), (0.1, tip)]
    pen.smooth([*half, *mirrored(half[1:])], colour)
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
    top, middle = bend - thick, bend - 0.3 * thick
    inner = [(0.82, -0.26), (0.5, top - 0.3), (0.08, top - 0.16), (-0.36, top - 0.28), (-0.72, -0.18), (-0.84, -0.46)]
    ridge = [
        (-0.9, -0.4),
        (-0.74, -0.04),
        (-0.4, middle - 0.2),
        (0.1, middle - 0.1),
        (0.55, middle - 0.3),
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


def cliff(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """Sea cliffs, three headlands one behind the other; the build sets their height and their spacing."""
    top, step = -0.78 - 0.12 * build[0], 0.42 + 0.06 * build[1]
    haze = mixed(colour, (196, 206, 216), 0.45)
    _headland(pen, 0.98, 0.42 * top, 0.66, haze)
    _headland(pen, 0.98 - step, 0.72 * top, 0.76, mixed(haze, colour, 0.55))
    _headland(pen, 0.98 - 2 * step, top, 0.9, colour)


def _headland(pen: Pen, right: float, top: float, base: float, colour: Colour) -> None:
    """A plateau that ends in a steep face at `right`, from `top` down to the water at `base`."""
    height = base - top
    face = [(right + 0.05 * k + pen.rng.uniform(-0.05, 0.05), top + height * k / 6) for k in range(1, 6)]
    rim = [(_FAR_LEFT, top + 0.04), (right - 0.5, top), (right - 0.2, top + 0.02), (right, top + 0.07)]
    foot = [(right + 0.3, base), (_FAR_LEFT, base)]
    pen.polygon([*rim, *face, *foot], colour)
    _buttresses(pen, right, top, base, colour)
    _ledges(pen, right, top, base, shaded(colour, 0.55))
    _turf(pen, rim, mixed((82, 142, 58), colour, 0.15))
    for x in range(8):
        pen.ellipse((right + 0.26 - 0.3 * x, base), (0.2, pen.rng.uniform(0.03, 0.06)), (244, 248, 250))


def _ledges(pen: Pen, right: float, top: float, base: float, colour: Colour) -> None:
    """Broken lines of strata across the face, all of one dip."""
    for step in range(9):
        x = right + 0.08 - 0.24 * step + pen.rng.uniform(-0.1, 0.1)
        y = top + (base - top) * pen.rng.uniform(0.25, 0.92)
        length = pen.rng.uniform(0.12, 0.34)
        pen.line([(x - length, y + 0.05 * length), (x - 0.4 * length, y + 0.02), (x, y)], 0.025, colour)


def _buttresses(pen: Pen, right: float, top: float, base: float, colour: Colour) -> None:
    """Steep ribs of rock with a lit and a shaded side, each leaning against the face."""
    x = right + 0.02
    for tint in (0.56, 0.74, 0.6, 0.78, 0.64, 0.8, 0.66):
        width = pen.rng.uniform(0.14, 0.42)
        crest = top + pen.rng.uniform(0.04, 0.36)
        lean = pen.rng.uniform(0.06, 0.26)
        waist = (x - 0.35 * width + 0.5 * lean, crest + 0.55 * (base - crest))
        edge, foot = (x - 0.5 * width, crest + 0.06), (x - 0.55 * width + lean, base)
        pen.polygon([(x, crest), waist, (x + lean, base), foot, edge], shaded(colour, tint))
        pen.polygon([edge, foot, (x - width + lean, base), (x - 0.8 * width, crest + 0.3)], shaded(colour, 1.15))
        x -= width


def _turf(pen: Pen, rim: list[Point], colour: Colour) -> None:
    hem = []
    for step in range(9):
        share = step / 8
        hem.append((rim[-1][0] - 1.6 * share, rim[-1][1] + 0.05 + 0.07 * (step % 2) + pen.rng.uniform(-0.02, 0.02)))
    pen.polygon([*rim, *hem, (_FAR_LEFT, rim[0][1] + 0.1)], colour)
    pen.line(rim[:-1], 0.03, shaded(colour, 1.3))
