"""Draw the animals of the demo: goldfish, snail, pug.

Every function takes the pen, the body's colour and two proportions in [-1, 1] that vary the animal's build.
"""

from se_probe.demo.pen import Colour, Pen, mirrored, mixed, shaded

BLACK: Colour = (22, 18, 20)
WHITE: Colour = (250, 248, 244)


def goldfish(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """A goldfish from the side, head to the left; the build sets its plumpness and its tail."""
    plump, tail = 0.40 + 0.07 * build[0], 0.58 + 0.12 * build[1]
    fin, dark, light = mixed(shaded(colour, 1.25), (255, 170, 60), 0.15), shaded(colour, 0.72), shaded(colour, 1.4)
    upper = [(0.30, 0.0), (0.62, -0.12), (0.86, -tail), (1.02, -0.9 * tail), (0.93, -0.3), (0.72, 0.02)]
    lower = [(0.30, 0.0), (0.62, 0.12), (0.82, 0.95 * tail), (1.0, 1.1 * tail), (0.95, 0.35), (0.72, 0.0)]
    pen.smooth(lower, shaded(fin, 0.88))
    pen.smooth(upper, fin)
    for x, y in ((0.95, -tail * 0.8), (0.9, -0.3), (0.92, 0.38), (0.94, tail)):
        pen.line([(0.45, 0.04 * y), (x, y)], 0.018, dark)
    pen.smooth([(-0.42, -0.24), (-0.22, -plump - 0.32), (0.12, -plump - 0.24), (0.36, -0.14)], fin)
    for x in (-0.2, -0.05, 0.1):
        pen.line([(x, -0.3), (x + 0.06, -plump - 0.2)], 0.018, dark)
    pen.smooth([(-0.2, 0.25), (-0.02, plump + 0.3), (0.12, plump + 0.16), (0.02, 0.25)], fin)
    pen.smooth([(0.16, 0.18), (0.36, plump + 0.1), (0.45, plump), (0.34, 0.1)], fin)
    body = [(-0.96, -0.02), (-0.68, -0.28), (-0.28, -plump), (0.14, -0.3), (0.48, -0.07)]
    pen.smooth([*body, (0.48, 0.08), (0.14, 0.3), (-0.28, plump), (-0.7, 0.25)], colour)
    pen.smooth([(-0.8, 0.17), (-0.3, 0.16), (0.3, 0.1), (0.1, 0.28), (-0.28, plump - 0.03), (-0.66, 0.25)], light)
    _fish_scales(pen, plump, dark)
    pen.curve([(-0.52, -0.27), (-0.43, -0.02), (-0.54, 0.25)], 0.03, dark)
    pen.smooth([(-0.32, 0.06), (-0.08, 0.05), (0.0, 0.2), (-0.2, 0.24)], shaded(fin, 0.9))
    pen.ellipse((-0.69, -0.07), (0.1, 0.1), WHITE)
    pen.ellipse((-0.7, -0.07), (0.06, 0.06), BLACK)
    pen.curve([(-0.95, 0.05), (-0.88, 0.07), (-0.83, 0.11)], 0.025, shaded(colour, 0.5))


def _fish_scales(pen: Pen, plump: float, colour: Colour) -> None:
    for row in range(3):
        for column in range(5):
            x, y = -0.3 + 0.15 * column + 0.07 * (row % 2), -0.22 + 0.15 * row
            if abs(y) < (plump - 0.1) * (1 - 0.14 * column):
                pen.curve([(x - 0.03, y - 0.06), (x + 0.04, y), (x - 0.03, y + 0.06)], 0.02, colour)


def snail(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """A snail creeping to the left; the colour is the shell's, the build sets its size and the neck."""
    size, neck = 0.52 + 0.06 * build[0], -0.2 - 0.1 * build[1]
    flesh = mixed((196, 172, 132), colour, 0.12)
    foot = [(-0.98, neck - 0.06), (-0.86, neck - 0.2), (-0.68, neck - 0.08), (-0.5, 0.28), (0.1, 0.3)]
    for x in (-1.02, -0.74):
        pen.line([(-0.84, neck), (x, neck - 0.46)], 0.06, flesh)
        pen.ellipse((x, neck - 0.48), (0.065, 0.065), shaded(flesh, 0.45))
    pen.smooth([*foot, (0.72, 0.38), (1.0, 0.6), (0.5, 0.64), (-0.3, 0.64), (-0.78, 0.56), (-0.92, 0.2)], flesh)
    pen.smooth([(-0.8, 0.52), (0.1, 0.54), (0.98, 0.6), (0.4, 0.66), (-0.4, 0.66)], shaded(flesh, 0.72))
    centre = (0.16, 0.36 - size)
    pen.ellipse(centre, (size + 0.05, size + 0.05), shaded(colour, 0.5))
    pen.ellipse(centre, (size, size), colour)
    pen.ellipse((centre[0] - 0.06, centre[1] - 0.08), (0.72 * size, 0.7 * size), shaded(colour, 1.18))
    _spiral(pen, centre, size, shaded(colour, 0.45))


def _spiral(pen: Pen, centre: tuple[float, float], size: float, colour: Colour) -> None:
    half = [(1.0, 0.0), (0.71, 0.71), (0.0, 1.0), (-0.71, 0.71)]
    turn = [*half, *[(-x, -y) for x, y in half]]
    points = []
    for step in range(21):
        (x, y), radius = turn[step % 8], size * (1 - 0.045 * step)
        points.append((centre[0] + radius * x, centre[1] + radius * y))
    pen.curve(points, 0.075, colour)


def pug(pen: Pen, colour: Colour, build: tuple[float, float]) -> None:
    """The head and chest of a pug from the front; the build sets the head's width and the ears' droop."""
    wide, droop = 0.62 + 0.05 * build[0], 0.06 * build[1]
    mask, fold = mixed(shaded(colour, 0.26), BLACK, 0.55), shaded(colour, 0.66)
    pen.smooth([(-0.6, 1.05), (-0.66, 0.72), (-0.46, 0.3), (0.46, 0.3), (0.66, 0.72), (0.6, 1.05)], shaded(colour, 0.9))
    pen.smooth([(-0.3, 1.04), (-0.34, 0.75), (0.0, 0.6), (0.34, 0.75), (0.3, 1.04)], shaded(colour, 1.25))
    head = [(0.0, -0.84), (0.42, -0.76), (wide, -0.36), (wide, 0.1), (0.48, 0.46), (0.2, 0.6)]
    pen.smooth([*head, *mirrored(head[1:])], colour)
    for side in (-1, 1):
        ear = [(0.34, -0.8), (0.66, -0.82), (0.86, -0.5 + droop), (0.8, -0.14 + droop), (0.62, -0.34), (0.5, -0.56)]
        pen.smooth([(side * x, y) for x, y in ear], mask)
        pen.ellipse((side * 0.33, -0.14), (0.23, 0.24), mixed(mask, colour, 0.25))
    muzzle = [(0.26, 0.02), (0.42, 0.28), (0.3, 0.54)]
    pen.smooth([(0.0, -0.16), *muzzle, (0.0, 0.62), *mirrored(muzzle)], mask)
    _pug_face(pen, fold, mask)


def _pug_face(pen: Pen, fold: Colour, mask: Colour) -> None:
    for y, half in ((-0.6, 0.2), (-0.49, 0.27), (-0.38, 0.16)):
        pen.curve([(-half, y + 0.05), (0.0, y - 0.05), (half, y + 0.05)], 0.045, fold)
    for side in (-1, 1):
        pen.ellipse((side * 0.34, -0.13), (0.155, 0.16), WHITE)
        pen.ellipse((side * 0.325, -0.12), (0.13, 0.14), (58, 32, 20))
        pen.ellipse((side * 0.32, -0.11), (0.085, 0.09), BLACK)
        pen.ellipse((side * 0.32 - 0.04, -0.17), (0.04, 0.04), WHITE)
    lip = shaded(mask, 1.35)
    pen.smooth([(-0.13, 0.44), (0.13, 0.44), (0.11, 0.62), (0.0, 0.68), (-0.11, 0.62)], (226, 112, 122))
    for side in (-1, 1):
        pen.smooth([(0.0, 0.22), (side * 0.24, 0.24), (side * 0.33, 0.42), (side * 0.14, 0.5), (0.0, 0.42)], lip)
    pen.smooth([(0.0, 0.02), (0.15, 0.06), (0.12, 0.18), (0.0, 0.24), (-0.12, 0.18), (-0.15, 0.06)], BLACK)
    pen.ellipse((0.0, 0.075), (0.07, 0.022), shaded(BLACK, 1.45))
    pen.line([(0.0, 0.2), (0.0, 0.4)], 0.03, BLACK)
