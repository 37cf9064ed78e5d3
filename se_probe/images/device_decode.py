"""JPEGs decoded where the network runs: by nvJPEG on CUDA, through torchvision.

torchvision takes more than a second to import, so that it waits until somebody decodes so.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image

from se_probe.errors import SeProbeError, first_line
from se_probe.images.decode import pillow_settings

_END_OF_IMAGE = b"\xff\xd9"


class DeviceDecoder:
    """Decodes JPEGs on a device and transforms them there.

    Args:
        transform: the network's transform of images. Those of torchvision take tensors as well; in a `Compose`, as
            timm makes them, the step that makes a tensor of an image becomes a change of scale.
        device: where images are decoded and stay.

    Raises:
        SeProbeError: the transform takes no tensors, or torchvision cannot decode there.
    """

    def __init__(self, transform: Callable[[Any], torch.Tensor], device: str | torch.device) -> None:
        self.device = torch.device(device)
        self._transform = _of_tensors(transform)
        try:
            self([_sample()])
        # Transforms are anybody's, and torchvision has errors of its own for each device.
        except Exception as error:
            raise SeProbeError(f"images cannot be decoded on {self.device}: {first_line(error)}") from error

    def __str__(self) -> str:
        """Name it for a recording's provenance."""
        return f"torchvision on {self.device}"

    def __call__(self, encoded: Sequence[bytes]) -> list[torch.Tensor]:
        """Return the transformed images `(3, H, W)` of encoded ones.

        Raises:
            RuntimeError: one of them cannot be decoded.
        """
        with torch.inference_mode():
            return [self._transform(image) for image in _decode(encoded, self.device)]


def encoded_jpeg(opener: Callable[[], Image.Image]) -> bytes | None:
    """Return the bytes of a whole 8-bit RGB JPEG; None for all else, which Pillow decodes, or says why it cannot."""
    try:
        with pillow_settings():
            image = opener()
            file = getattr(image, "fp", None) if image.format == "JPEG" and image.mode == "RGB" else None
            if file is None:
                return None
            file.seek(0)
            data: bytes = file.read()
    except Exception:
        return None
    # A decoder may fill up what is missing at the end; a half image is no sample.
    return data if data.endswith(_END_OF_IMAGE) else None


def _decode(encoded: Sequence[bytes], device: torch.device) -> list[torch.Tensor]:
    on_host = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in encoded]
    with warnings.catch_warnings():
        # torchvision 0.29 means to leave decoding to TorchCodec some day; then Pillow decodes, and the run says so.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torchvision.io import ImageReadMode, decode_jpeg

        images: list[torch.Tensor] = decode_jpeg(on_host, mode=ImageReadMode.RGB, device=device)
    for image in images:
        if image.device.type != device.type:  # any device but CUDA is taken for the CPU
            raise ValueError(f"torchvision decodes on the {image.device.type.upper()} there")
    return images


def _of_tensors(transform: Callable[[Any], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    from torchvision.transforms import Compose
    from torchvision.transforms.functional import convert_image_dtype

    steps = transform.transforms if isinstance(transform, Compose) else [transform]

    def transformed(image: torch.Tensor) -> torch.Tensor:
        for step in steps:
            image = convert_image_dtype(image, torch.float32) if _makes_tensor(step) else step(image)
        if not image.is_floating_point():
            raise TypeError("the network's transform takes no tensors")
        return image

    return transformed


def _makes_tensor(step: object) -> bool:
    from torchvision.transforms import PILToTensor, ToTensor

    # timm's own come under these names too.
    return isinstance(step, ToTensor | PILToTensor) or type(step).__name__ in ("ToTensor", "MaybeToTensor")


def _sample() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "JPEG")
    return file.getvalue()
