"""How the cliff of the demo is drawn."""

from se_probe.demo.pen import Colour, Pen, Point, mixed, shaded

_FAR_LEFT = -2.6
"""The land goes on beyond the picture's edge on this side, whatever the scale."""


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
        pen.polygon(
            [(x, crest), waist, (x + lean, base), (x - 0.55 * width + lean, base), (x - 0.5 * width, crest + 0.06)],
            shaded(colour, tint),
        )
        lit = [
            (x - 0.5 * width, crest + 0.06),
            (x - 0.55 * width + lean, base),
            (x - width + lean, base),
            (x - 0.8 * width, crest + 0.3),
        ]
        pen.polygon(lit, shaded(colour, 1.15))
        x -= width


def _turf(pen: Pen, rim: list[Point], colour: Colour) -> None:
    hem = []
    for step in range(9):
        share = step / 8
        hem.append((rim[-1][0] - 1.6 * share, rim[-1][1] + 0.05 + 0.07 * (step % 2) + pen.rng.uniform(-0.02, 0.02)))
    pen.polygon([*rim, *hem, (_FAR_LEFT, rim[0][1] + 0.1)], colour)
    pen.line(rim[:-1], 0.03, shaded(colour, 1.3))
