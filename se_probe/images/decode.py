"""Decode one image to RGB, or say in a phrase why it cannot be decoded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from se_probe.errors import SeProbeError


class UndecodableImageError(Exception):
    """An image that cannot be decoded; the message is the reason, without the path."""


def decode_rgb(opener: Callable[[], Image.Image]) -> Image.Image:
    """Open an image and return it as 8-bit RGB, wholly decoded.

    As in the evaluation code of timm and torchvision, an orientation in the EXIF data is not applied and an
    alpha channel is dropped. Sixteen-bit grey values are scaled to eight bits. Of an animation the first frame.

    Raises:
        UndecodableImageError: the file is missing, empty, damaged, cut short, no image, or so large that Pillow
            takes it for a decompression bomb.
        SeProbeError: the store that holds it cannot be reached, which says nothing about the image.
    """
    with pillow_settings():
        try:
            image = opener()
            image.load()
            return _to_rgb(image)
        except SeProbeError:
            raise
        # Pillow's parsers raise nearly any type on damaged files, and all of them mean the same here.
        except Exception as error:
            raise UndecodableImageError(_reason(error)) from error


@contextmanager
def pillow_settings() -> Iterator[None]:
    """Read images strictly: truncated ones are refused, and so are those of a decompression bomb's size."""
    truncated = ImageFile.LOAD_TRUNCATED_IMAGES
    # Other code may have asked Pillow to fill up truncated images with grey; a half image is no sample.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            # Damaged EXIF data and palettes with alpha are warned of; the pixels are sound.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Image.convert clips such values to 255, which makes the image white.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no stated range")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels: taken for a decompression bomb"
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(message.split()) or type(error).__name__
