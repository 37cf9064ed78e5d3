"""The digest that identifies a network's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch


def state_digest(state: Mapping[str, object]) -> str:
    """Return the SHA-256, in hexadecimal, of a state dict's tensors.

    Fed in the order of their names, each tensor contributes its name, dtype, shape and raw bytes in
    row-major order, so the digest depends neither on the device nor on the file format the weights came in.
    Entries that are not tensors (a module's extra state) are left out.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            digest.update(_raw_bytes(tensor))
    return digest.hexdigest()


def _raw_bytes(tensor: torch.Tensor) -> memoryview:
    # Through uint8, because NumPy has no bfloat16.
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
