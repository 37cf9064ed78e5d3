"""The precision in which float32 convolutions and matrix products are computed: IEEE, or TF32 or bfloat16 inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_backends: Any = torch.backends
_FIRST_WITH_TF32 = 8  # compute capability of Ampere


def float32_precision(device: str | torch.device) -> dict[str, str]:
    """Return the precision in effect of float32 operations on a device: "ieee", "tf32" or "bf16".

    Returns:
        `convolution` and `matrix_product`, as PyTorch is set now (`torch.backends...fp32_precision`). CUDA devices
        older than Ampere have no TF32, and devices other than CUDA and CPU have no such setting.
    """
    device = torch.device(device)
    backend = {"cuda": (_backends.cudnn.conv, _backends.cuda.matmul), "cpu": _mkldnn()}.get(device.type)
    if backend is None or (device.type == "cuda" and torch.cuda.get_device_capability(device)[0] < _FIRST_WITH_TF32):
        return {"convolution": "ieee", "matrix_product": "ieee"}
    convolution, product = (operation.fp32_precision.replace("none", "ieee") for operation in backend)
    return {"convolution": convolution, "matrix_product": product}


@contextmanager
def ieee_float32() -> Iterator[None]:
    """Compute float32 convolutions and matrix products in IEEE float32 within the context, on any device."""
    operations = (_backends.cudnn.conv, _backends.cuda.matmul, *_mkldnn())
    lowered = [(item, item.fp32_precision) for item in operations if item.fp32_precision not in ("none", "ieee")]
    for operation, _ in lowered:
        operation.fp32_precision = "ieee"
    try:
        yield
    finally:
        for operation, precision in lowered:
            operation.fp32_precision = precision


def _mkldnn() -> tuple[Any, Any]:
    return _backends.mkldnn.conv, _backends.mkldnn.matmul
