"""Backgrounds of stimuli: nine kinds, each in any colour, none tied to a class."""

import random
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from se_probe.demo.pen import Colour, mixed, shaded

Pixels = NDArray[np.float32]
Painter = Callable[[Colour, int, random.Random], Pixels]


def paint_background(kind: str, colour: Colour, size: int, seed: int) -> Pixels:
    """Paint a background, (size, size, 3), float32, 0 to 255; the seed sets its texture."""
    return np.clip(BACKGROUNDS[kind](colour, size, random.Random(seed)), 0, 255)


def _plain(colour: Colour, size: int, rng: random.Random) -> Pixels:
    return _flat(colour, size)


def _gradient(colour: Colour, size: int, rng: random.Random) -> Pixels:
    across, down = rng.uniform(-40, 40), rng.uniform(-40, 40)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    ground: Pixels = _flat(colour, size) + (across * ramp[None, :] + down * ramp[:, None])[..., None]
    return ground


def _sky(colour: Colour, size: int, rng: random.Random) -> Pixels:
    ramp = np.linspace(-25, 35, size, dtype=np.float32)[:, None, None]
    cloud: Pixels = np.clip(1.6 * _texture(rng, 4, 6, size) - 0.2, 0, 1)[..., None]
    clear: Pixels = _flat(colour, size) + ramp
    return clear + cloud * (_flat(shaded(colour, 1.75), size) - clear)


def _water(colour: Colour, size: int, rng: random.Random) -> Pixels:
    ramp = np.linspace(20, -35, size, dtype=np.float32)[:, None, None]
    return _flat(colour, size) + ramp + 34 * _texture(rng, 5, 22, size)[..., None]


def _horizon(colour: Colour, size: int, rng: random.Random) -> Pixels:
    above = _sky(mixed(colour, (190, 214, 240), 0.6), size, rng)
    below = _flat(colour, size) + 26 * _texture(rng, 16, 40, size)[..., None]
    edge = round(size * rng.uniform(0.45, 0.75))
    return np.concatenate([above[:edge], below[edge:]])


def _grass(colour: Colour, size: int, rng: random.Random) -> Pixels:
    return _flat(colour, size) + 42 * _texture(rng, 48, 12, size)[..., None]


def _sand(colour: Colour, size: int, rng: random.Random) -> Pixels:
    return _flat(colour, size) + (22 * _texture(rng, 64, 64, size) + 12 * _texture(rng, 5, 5, size))[..., None]


def _noise(colour: Colour, size: int, rng: random.Random) -> Pixels:
    layers = [26 * _texture(rng, cells, cells, size) + 14 * _texture(rng, 30, 30, size) for cells in (5, 7, 9)]
    return _flat(colour, size) + np.stack(layers, axis=-1)


def _clutter(colour: Colour, size: int, rng: random.Random) -> Pixels:
    side = 2 * size
    picture = Image.new("RGB", (side, side), colour)
    pen = ImageDraw.Draw(picture)
    for _ in range(14):
        ink = mixed(colour, (rng.randrange(256), rng.randrange(256), rng.randrange(256)), 0.45)
        corners = [(rng.uniform(-0.1, 1.1) * side, rng.uniform(-0.1, 1.1) * side) for _ in range(3)]
        if rng.random() < 0.5:
            pen.polygon(corners, fill=ink)
        else:
            pen.circle(corners[0], rng.uniform(0.05, 0.2) * side, fill=ink)
    return np.asarray(picture.reduce(2), dtype=np.float32)


BACKGROUNDS: Mapping[str, Painter] = {
    "plain": _plain,
    "gradient": _gradient,
    "sky": _sky,
    "water": _water,
    "horizon": _horizon,
    "grass": _grass,
    "sand": _sand,
    "noise": _noise,
    "clutter": _clutter,
}


def _flat(colour: Colour, size: int) -> Pixels:
    return np.broadcast_to(np.array(colour, dtype=np.float32), (size, size, 3))


def _texture(rng: random.Random, across: int, down: int, size: int) -> Pixels:
    """Return smooth noise in [-1, 1] from a grid of `across` by `down` random cells."""
    cells = Image.frombytes("L", (across, down), rng.randbytes(across * down))
    return np.asarray(cells.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) / 127.5 - 1
