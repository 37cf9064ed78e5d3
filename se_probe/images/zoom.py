"""Change the scale of images: enlarge them by central crop and resize, or draw the demo's object larger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from PIL import Image

_FILTERS = {item.name.lower(): item for item in Image.Resampling}


def resampling(preprocessing: Mapping[str, object]) -> Image.Resampling:
    """Return the filter that a model's preprocessing names under "interpolation", bicubic where it names none."""
    return _FILTERS.get(str(preprocessing.get("interpolation")), Image.Resampling.BICUBIC)


def enlarge(image: Image.Image, scale: float, filter_: Image.Resampling) -> Image.Image:
    """Return the central 1/scale of an image's width and height, resized to the size of the whole.

    The crop is rounded to whole pixels; where it cannot be centred, it is half a pixel to the left or above.
    Resizing is Pillow's, which is antialiased. At scale 1 the pixels stay as they are.
    """
    width, height = max(1, round(image.width / scale)), max(1, round(image.height / scale))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height)).resize(image.size, filter_)


@dataclass(frozen=True)
class Enlarge:
    """A transform that enlarges an image first; it can be pickled where `then` can."""

    scale: float
    filter_: Image.Resampling
    then: Callable[[Image.Image], torch.Tensor]

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Enlarge an image and apply `then`."""
        return self.then(enlarge(image, self.scale, self.filter_))


@dataclass(frozen=True)
class Drawings:
    """The demo's drawings, drawn when opened, with the object enlarged `scale` times on the same background."""

    scale: float = 1.0

    def open(self, path: str) -> Image.Image:
        """Return the drawing of a path "demo/CLASS/INSTANCE"."""
        from se_probe.demo import draw, stimulus_factors

        _, name, instance = path.split("/")
        own = stimulus_factors(name, int(instance)).scale
        return draw(name, int(instance), scale=own * self.scale)

    def fingerprint(self, path: str) -> None:
        """Return None: a drawing is determined by its path."""
