"""What a source of networks returns, what a loaded network is, and the digest that identifies its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from PIL import Image

from se_probe.labels import LabelSpace

Transform = Callable[[Image.Image], torch.Tensor]


@dataclass(frozen=True)
class Preprocessing:
    """How an RGB image becomes the input of a network.

    Attributes:
        input_size: size of the input without the image axis; (channels, height, width) in pixels for images.
        transform: returns a float tensor of that shape; it can be pickled.
        facts: what JSON can hold of it, and under "source" where the configuration came from.
    """

    input_size: tuple[int, ...]
    transform: Transform = field(repr=False)
    facts: Mapping[str, object]


@dataclass(frozen=True)
class BuiltNetwork:
    """A network as its source built it; `weights` says in one phrase where its parameters come from."""

    network: torch.nn.Module = field(repr=False)
    name: str
    source: str
    weights: str
    preprocessing: Preprocessing
    labels: LabelSpace | None = field(repr=False)


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to be recorded: in eval mode, on the CPU, without gradients.

    Attributes:
        network: the network.
        name: its name as resolved.
        source: "timm", "torchvision", "hf-hub", "file", "demo", "photo" or "memory".
        weights: one phrase that says where the parameters come from.
        weights_sha256: the digest of `state_digest`.
        input_size: size of its input without the image axis; (channels, height, width) in pixels for images.
        preprocessing: what `transform` does, as JSON can hold it.
        transform: turns an RGB image into a float tensor of shape `input_size`.
        labels: what the output units mean, None when nothing says it.
    """

    network: torch.nn.Module = field(repr=False)
    name: str
    source: str
    weights: str
    weights_sha256: str
    input_size: tuple[int, ...]
    preprocessing: Mapping[str, object] = field(repr=False)
    transform: Transform = field(repr=False)
    labels: LabelSpace | None = field(repr=False)


def state_digest(state: Mapping[str, object]) -> str:
    """Return the SHA-256, in hexadecimal, of a state dict's tensors.

    In the order of their names, each tensor contributes its name, dtype, shape and raw bytes in row-major order.
    The digest depends neither on the device nor on the file format of the weights. Entries that are not tensors
    (a module's extra state) are left out.
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
