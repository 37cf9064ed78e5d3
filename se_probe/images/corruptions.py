"""Changes of the pixels of a picture, with the parameters of ImageNet-C where it has the change."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TINY = 128
"""Pictures with a shorter side than this take the severities of Tiny ImageNet-C."""

# Parameters at severity 1 to 5, of pictures of 224 pixels and of 64. Source: Hendrycks and Dietterich, Benchmarking
# Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019; their make_imagenet_c.py and
# make_tinyimagenet_c.py (github.com/hendrycks/robustness, commit 8190fe3).
SEVERITIES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "brightness": ((0.1, 0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": ((0.4, 0.3, 0.2, 0.1, 0.05), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "blur": ((1, 2, 3, 4, 6), (0.5, 0.75, 1, 1.25, 1.5)),
    "noise": ((0.08, 0.12, 0.18, 0.26, 0.38), (0.04, 0.08, 0.12, 0.15, 0.18)),
    "jpeg": ((25, 18, 15, 10, 7), (65, 58, 50, 40, 25)),
}


def _values(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64) / 255


def _image(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8))


def _brightness(image: Image.Image, added: float, _rng: np.random.Generator) -> Image.Image:
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    values = rgb_to_hsv(_values(image))
    values[..., 2] = np.clip(values[..., 2] + added, 0, 1)
    return _image(hsv_to_rgb(values))


def _contrast(image: Image.Image, kept: float, _rng: np.random.Generator) -> Image.Image:
    values = _values(image)
    means = values.mean(axis=(0, 1))
    return _image((values - means) * kept + means)


def _blur(image: Image.Image, sigma: float, _rng: np.random.Generator) -> Image.Image:
    from scipy.ndimage import gaussian_filter

    return _image(gaussian_filter(_values(image), (sigma, sigma, 0), mode="nearest"))


def _noise(image: Image.Image, sigma: float, rng: np.random.Generator) -> Image.Image:
    values = _values(image)
    return _image(values + sigma * rng.standard_normal(values.shape))


def _jpeg(image: Image.Image, quality: float, _rng: np.random.Generator) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(quality))
    with Image.open(stream) as compressed:
        return compressed.convert("RGB")


def _grey(image: Image.Image, share: float, _rng: np.random.Generator, _fill: tuple[int, ...]) -> Image.Image:
    from torchvision.transforms.v2.functional import adjust_saturation

    greyed: Image.Image = adjust_saturation(image, 1 - share)
    return greyed


def _rotate(image: Image.Image, degrees: float, _rng: np.random.Generator, fill: tuple[int, ...]) -> Image.Image:
    return image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=fill)


def _occlude(image: Image.Image, share: float, rng: np.random.Generator, fill: tuple[int, ...]) -> Image.Image:
    wide, high = (max(1, round(side * math.sqrt(share))) for side in image.size)
    left, top = (int(rng.integers(0, side - part + 1)) for side, part in zip(image.size, (wide, high), strict=True))
    hidden = image.copy()
    hidden.paste(fill, (left, top, left + wide, top + high))
    return hidden


CORRUPTIONS: Mapping[str, Callable[[Image.Image, float, np.random.Generator], Image.Image]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
}
MOVES = {"grey": _grey, "rotate": _rotate, "occlude": _occlude}
