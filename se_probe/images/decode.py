"""Decode images to RGB: one by one with Pillow, or JPEGs on the device where the network runs.

torchvision takes more than a second to import, so it is imported where it first decodes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError

from se_probe.errors import SeProbeError, first_line, message_of

_END_OF_IMAGE = b"\xff\xd9"
_LONGEST_STRIP = 500
# timm's own steps that make a tensor of an image.
_MAKE_TENSORS = ("ToTensor", "MaybeToTensor")


class UndecodableImageError(Exception):
    """An image that cannot be decoded; the message is the reason."""


def decode_rgb(opener: Callable[[], Image.Image]) -> Image.Image:
    """Open an image and decode it to 8-bit RGB.

    As in the evaluation code of timm and torchvision, an EXIF orientation is ignored and an alpha channel is dropped.
    Sixteen-bit grey values are scaled to eight bits. Of an animation the first frame is taken.

    Raises:
        UndecodableImageError: the file is missing, damaged, truncated, no image, extremely elongated, or so large that
            Pillow treats it as a decompression bomb.
        SeProbeError: the store that holds it cannot be reached; the image itself may be sound.
    """
    with pillow_settings():
        try:
            image = opener()
            _require_shape(image)
            image.load()
            return _to_rgb(image)
        except SeProbeError:
            raise
        # Pillow's parsers raise almost any exception type on damaged files.
        except Exception as error:
            raise UndecodableImageError(_reason(error)) from error


@contextmanager
def pillow_settings() -> Iterator[None]:
    """Make Pillow reject truncated images and images of a decompression bomb's size."""
    truncated = ImageFile.LOAD_TRUNCATED_IMAGES
    # Other code may have told Pillow to pad truncated images with grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            # Pillow warns about damaged EXIF data and palettes with alpha, although the pixels are sound.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated


class DeviceDecoder:
    """Decodes JPEGs on a device and transforms them there.

    Args:
        transform: the network's transform. Those of torchvision take tensors as well; in a `Compose`, as timm makes
            them, the step that makes a tensor becomes a change of scale.
        device: where images are decoded and stay.

    Raises:
        SeProbeError: the transform takes no tensors, or torchvision cannot decode there.
    """

    def __init__(self, transform: Callable[[Any], torch.Tensor], device: str | torch.device) -> None:
        from torchvision.transforms import Compose

        self.device = torch.device(device)
        self._steps = transform.transforms if isinstance(transform, Compose) else [transform]
        sample = io.BytesIO()
        Image.new("RGB", (64, 48)).save(sample, "JPEG")
        try:
            self([sample.getvalue()])
        # User transforms and torchvision's decoders raise almost any exception type.
        except Exception as error:
            raise SeProbeError(f"images cannot be decoded on {self.device}: {first_line(error)}") from error

    def __str__(self) -> str:
        """Name it for a recording's provenance."""
        return f"torchvision on {self.device}"

    def __call__(self, encoded: Sequence[bytes]) -> list[torch.Tensor]:
        """Return the transformed images `(3, H, W)` of encoded ones."""
        with torch.inference_mode():
            return [self._transformed(image) for image in _decode(encoded, self.device)]

    def _transformed(self, image: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms.functional import convert_image_dtype

        for step in self._steps:
            image = convert_image_dtype(image, torch.float32) if makes_tensor(step) else step(image)
        if not image.is_floating_point():
            raise TypeError("the network's transform takes no tensors")
        return image


def makes_tensor(step: object) -> bool:
    """Return whether a step of a transform makes a tensor of an image."""
    from torchvision.transforms import PILToTensor, ToTensor

    return isinstance(step, ToTensor | PILToTensor) or type(step).__name__ in _MAKE_TENSORS


def encoded_jpeg(opener: Callable[[], Image.Image]) -> bytes | None:
    """Return the bytes of a complete 8-bit RGB JPEG, None for any other image."""
    try:
        with pillow_settings():
            image = opener()
            _require_shape(image)
            file = getattr(image, "fp", None) if image.format == "JPEG" and image.mode == "RGB" else None
            if file is None:
                return None
            file.seek(0)
            data: bytes = file.read()
    except Exception:
        return None
    # Decoders may pad a truncated image.
    return data if data.endswith(_END_OF_IMAGE) else None


def _require_shape(image: Image.Image) -> None:
    """Refuse elongated images, whose long side could fill the memory after resizing."""
    short, long = sorted(image.size)
    if long > _LONGEST_STRIP * short:
        raise ValueError(f"{image.width}×{image.height} pixels: one side is over {_LONGEST_STRIP} times the other")


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
    return message_of(error)


def _decode(encoded: Sequence[bytes], device: torch.device) -> list[torch.Tensor]:
    on_host = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in encoded]
    with warnings.catch_warnings():
        # torchvision 0.29 deprecates its decoders in favour of TorchCodec.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torchvision.io import ImageReadMode, decode_jpeg

        images: list[torch.Tensor] = decode_jpeg(on_host, mode=ImageReadMode.RGB, device=device)
    for image in images:
        if image.device.type != device.type:  # torchvision falls back to the CPU for devices other than CUDA
            raise ValueError(f"torchvision decodes on the {image.device.type.upper()} there")
    return images
