"""The ten classes of the demo, one row each: the function that draws it, its colours, its largest rotation.

The colours overlap on purpose, so that no colour identifies a class: goldfish, airliners and cliffs may all be red.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from se_probe.demo import animals, nature, things
from se_probe.demo.pen import Colour, Pen

ORANGE: Colour = (236, 122, 40)
RED: Colour = (204, 46, 44)
YELLOW: Colour = (240, 206, 70)
WHITE: Colour = (234, 232, 226)
GREY: Colour = (144, 146, 150)
DARK: Colour = (78, 72, 74)
BROWN: Colour = (142, 94, 58)
TAN: Colour = (212, 174, 126)
GREEN: Colour = (124, 166, 72)
BLUE: Colour = (70, 116, 196)
PINK: Colour = (232, 152, 160)
SANDSTONE: Colour = (218, 138, 80)
RUST: Colour = (182, 82, 62)
OCHRE: Colour = (222, 188, 112)


@dataclass(frozen=True)
class Subject:
    """A class of the demo: its WordNet id, its drawer, its colours, its largest rotation in degrees."""

    wnid: str
    draw: Callable[[Pen, Colour, tuple[float, float]], None]
    colours: tuple[Colour, ...]
    turn: float


SUBJECTS: Mapping[str, Subject] = {
    "goldfish": Subject("n01443537", animals.goldfish, (ORANGE, ORANGE, RED, YELLOW, WHITE, GREY), 25),
    "snail": Subject("n01944390", animals.snail, (BROWN, TAN, YELLOW, RED, ORANGE, GREY), 12),
    "pug": Subject("n02110958", animals.pug, (TAN, TAN, GREY, WHITE, ORANGE, BROWN), 14),
    "airliner": Subject("n02690373", things.airliner, (WHITE, WHITE, GREY, BLUE, YELLOW, RED, ORANGE), 25),
    "hourglass": Subject("n03544143", things.hourglass, (BROWN, ORANGE, YELLOW, GREY, RED, DARK), 16),
    "umbrella": Subject("n04507155", things.umbrella, (RED, YELLOW, BLUE, ORANGE, GREY, WHITE, GREEN), 25),
    "mushroom": Subject("n07734744", nature.mushroom, (RED, BROWN, ORANGE, TAN, WHITE, YELLOW), 16),
    "strawberry": Subject("n07745940", nature.strawberry, (RED, RED, ORANGE, PINK, WHITE, YELLOW), 40),
    "banana": Subject("n07753592", nature.banana, (YELLOW, YELLOW, GREEN, ORANGE, RED, BROWN), 45),
    "cliff": Subject("n09246464", nature.cliff, (SANDSTONE, RUST, TAN, WHITE, GREY, BROWN, OCHRE), 4),
}
"""The classes by name, in the order of the networks' output units (that of ImageNet)."""
