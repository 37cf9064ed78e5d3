"""Draw the demo's stimuli: a seeded parametric picture for each class and instance, with every factor under control."""

import math
import random
from colorsys import rgb_to_hsv
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from se_probe.demo.backgrounds import BACKGROUNDS, Pixels, paint_background
from se_probe.demo.pen import Colour, Pen
from se_probe.demo.subjects import SUBJECTS, Subject
from se_probe.errors import SeProbeError

STIMULUS_SIZE = 96
"""Side of a stimulus in pixels, and of the demo networks' input."""

DEMO_INSTANCES = 50
"""Instances 0 to 49 of each class are the stimuli of runs; no network was trained on them."""

_SUPERSAMPLING = 4
_GROUND_COLOURS: tuple[Colour, ...] = (
    (120, 176, 226), (62, 118, 168), (96, 146, 74), (206, 184, 140), (150, 150, 152), (226, 226, 222),
    (82, 78, 84), (214, 132, 74), (186, 84, 78), (222, 196, 100), (84, 150, 146), (138, 106, 160),
)  # fmt: skip
_LEAST_CONTRAST = 110


@dataclass(frozen=True)
class StimulusFactors:
    """The factors of a drawing of a class.

    Attributes:
        scale: object size; at 1 the object spans about three quarters of the picture.
        x, y: shift of the object from the centre to the right and down, in sides of the picture.
        rotation: degrees, counterclockwise.
        mirror: whether the object is flipped left to right.
        build: two proportions of the object's shape, each in [-1, 1].
        colour: the body's colour.
        light: direction of the light source in degrees (0: right, 90: above).
        brightness: factor on the whole picture.
        background: kind of the ground, a key of `BACKGROUNDS`.
        background_colour: colour of the ground.
        seed: sets the texture of the ground and the small irregularities of the object.

    Raises:
        SeProbeError: if the scale is not positive or the kind of background is unknown.
    """

    scale: float
    x: float
    y: float
    rotation: float
    mirror: bool
    build: tuple[float, float]
    colour: Colour
    light: float
    brightness: float
    background: str
    background_colour: Colour
    seed: int

    def __post_init__(self) -> None:
        """Refuse impossible factors."""
        if not self.scale > 0:
            raise SeProbeError(f"stimulus scale is {self.scale}; expected a positive number, 1 for the standard size")
        if self.background not in BACKGROUNDS:
            kinds = ", ".join(BACKGROUNDS)
            raise SeProbeError(f"background {self.background!r} is unknown; choose one of {kinds}")


def stimulus_factors(class_name: str, instance: int) -> StimulusFactors:
    """Sample the factors of an instance of a class, deterministically.

    Raises:
        SeProbeError: the demo has no such class.
    """
    subject = _subject(class_name)
    rng = random.Random(f"se-probe stimulus/{class_name}/{instance}")
    colour = _jittered(rng, rng.choice(subject.colours))
    return StimulusFactors(
        scale=rng.uniform(0.6, 1.3),
        x=rng.uniform(-0.1, 0.1),
        y=rng.uniform(-0.1, 0.1),
        rotation=rng.uniform(-subject.turn, subject.turn),
        mirror=rng.random() < 0.5,
        build=(rng.uniform(-1, 1), rng.uniform(-1, 1)),
        colour=colour,
        light=rng.uniform(0, 360),
        brightness=rng.uniform(0.8, 1.15),
        background=rng.choice(tuple(BACKGROUNDS)),
        background_colour=_contrasting(rng, colour),
        seed=rng.getrandbits(32),
    )


def factor_row(path: str) -> dict[str, float | str]:
    """Return the factors of the drawing `demo/CLASS/INSTANCE` as columns for an analysis.

    Angles are two columns of one factor (`light.sin`, `light.cos`), as are the shift and the two proportions.
    """
    _, class_name, instance = path.split("/")
    factors = stimulus_factors(class_name, int(instance))
    hue, saturation, value = rgb_to_hsv(*(channel / 255 for channel in factors.colour))
    return {
        "size": factors.scale,
        "place.x": factors.x,
        "place.y": factors.y,
        "rotation": factors.rotation,
        "mirror": float(factors.mirror),
        "build.1": factors.build[0],
        "build.2": factors.build[1],
        "hue.sin": math.sin(2 * math.pi * hue),
        "hue.cos": math.cos(2 * math.pi * hue),
        "saturation": saturation,
        "value": value,
        "light.sin": math.sin(math.radians(factors.light)),
        "light.cos": math.cos(math.radians(factors.light)),
        "brightness": factors.brightness,
        "ground": factors.background,
        **{f"ground colour.{name}": float(part) for name, part in zip("rgb", factors.background_colour, strict=True)},
    }


def draw(class_name: str, instance: int, *, size: int = STIMULUS_SIZE, **factors: Any) -> Image.Image:
    """Draw an instance of a class as an RGB picture.

    Args:
        class_name: a name in `DEMO_CLASSES`.
        instance: number of the instance; each has its own factors.
        size: side of the picture in pixels.
        **factors: fields of `StimulusFactors` to set instead of sampling them, such as `scale=1.5`.

    Raises:
        SeProbeError: the class or a factor is unknown, or a factor has an impossible value.
    """
    chosen = _overridden(stimulus_factors(class_name, instance), factors)
    ground = paint_background(chosen.background, chosen.background_colour, size, chosen.seed)
    alpha, ink = _object_layers(class_name, chosen, size)
    picture: Pixels = ground * (1 - alpha / 255) + ink * _shading(alpha, chosen.light)
    return _picture(picture * chosen.brightness)


def draw_background(class_name: str, instance: int, *, size: int = STIMULUS_SIZE, **factors: Any) -> Image.Image:
    """Draw the same picture as `draw` without its object.

    Args:
        class_name: a name in `DEMO_CLASSES`.
        instance: number of the instance.
        size: side of the picture in pixels.
        **factors: fields of `StimulusFactors` to set.
    """
    chosen = _overridden(stimulus_factors(class_name, instance), factors)
    ground = paint_background(chosen.background, chosen.background_colour, size, chosen.seed)
    return _picture(ground * chosen.brightness)


def object_mask(class_name: str, instance: int, *, size: int = STIMULUS_SIZE, **factors: Any) -> NDArray[np.uint8]:
    """Return the object's coverage of each pixel in the picture of `draw`: `(size, size)`, uint8, 0 to 255.

    Args:
        class_name: a name in `DEMO_CLASSES`.
        instance: number of the instance.
        size: side of the picture in pixels.
        **factors: fields of `StimulusFactors` to set.
    """
    chosen = _overridden(stimulus_factors(class_name, instance), factors)
    alpha, _ = _object_layers(class_name, chosen, size)
    return alpha[..., 0].astype(np.uint8)


def _subject(class_name: str) -> Subject:
    if class_name not in SUBJECTS:
        names = ", ".join(SUBJECTS)
        raise SeProbeError(f"the demo draws no {class_name!r}; choose one of {names}")
    return SUBJECTS[class_name]


def _overridden(sampled: StimulusFactors, factors: dict[str, Any]) -> StimulusFactors:
    known = [field.name for field in fields(StimulusFactors)]
    for name in factors:
        if name not in known:
            raise SeProbeError(f"stimuli have no factor {name!r}; choose from {', '.join(known)}")
    return replace(sampled, **factors)


def _jittered(rng: random.Random, colour: Colour) -> Colour:
    red, green, blue = (min(255, max(0, channel + rng.randint(-16, 16))) for channel in colour)
    return red, green, blue


def _contrasting(rng: random.Random, colour: Colour) -> Colour:
    """Sample a ground colour, whatever the class, that contrasts with a body colour."""
    while True:
        ground = _jittered(rng, rng.choice(_GROUND_COLOURS))
        if sum(abs(a - b) for a, b in zip(ground, colour, strict=True)) >= _LEAST_CONTRAST:
            return ground


def _object_layers(class_name: str, factors: StimulusFactors, size: int) -> tuple[Pixels, Pixels]:
    """Return the object's coverage (size, size, 1) and its colours times coverage (size, size, 3), 0 to 255."""
    pen = Pen(
        size * _SUPERSAMPLING,
        scale=factors.scale,
        centre=(0.5 + factors.x, 0.5 + factors.y),
        rotation=factors.rotation,
        mirror=factors.mirror,
        seed=factors.seed,
    )
    SUBJECTS[class_name].draw(pen, factors.colour, factors.build)
    layers = np.asarray(pen.picture.convert("RGBa").reduce(_SUPERSAMPLING), dtype=np.float32)
    return layers[..., 3:], layers[..., :3]


def _shading(alpha: Pixels, light: float) -> Pixels:
    """Return the brightness (size, size, 1) of a bulging surface with the object's outline, lit from `light`."""
    size = alpha.shape[0]
    outline = Image.fromarray(alpha[..., 0].astype(np.uint8))
    bulge = np.asarray(outline.filter(ImageFilter.GaussianBlur(0.06 * size)), dtype=np.float32)
    down, right = np.gradient(bulge * (size / 255))
    towards_x, towards_y = math.cos(math.radians(light)), -math.sin(math.radians(light))
    brightness: Pixels = np.clip(1 - 0.07 * (right * towards_x + down * towards_y), 0.55, 1.45)
    return brightness[..., None]


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
