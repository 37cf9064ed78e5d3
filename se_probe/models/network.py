"""What a source of networks hands over, and what a loaded network is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from PIL import Image

from se_probe.labels import LabelSpace

Transform = Callable[[Image.Image], torch.Tensor]


@dataclass(frozen=True)
class Preprocessing:
    """How an RGB image becomes the input of a network.

    `transform` returns a float tensor of shape `input_size` (channels, height, width) and can be pickled;
    `facts` holds what JSON can hold of it, and under "source" where the configuration came from.
    """

    input_size: tuple[int, int, int]
    transform: Transform
    facts: Mapping[str, object]


@dataclass(frozen=True)
class BuiltNetwork:
    """A network as its source built it; `weights` says in one phrase what its parameters are."""

    network: torch.nn.Module
    name: str
    source: str
    weights: str
    preprocessing: Preprocessing
    labels: LabelSpace | None


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to be recorded: in eval mode, on the CPU, without gradients.

    `name` is the name as resolved, `source` one of "timm", "torchvision", "hf-hub", "file", "demo" and "memory",
    `weights` one phrase that says where the parameters come from, `weights_sha256` the digest of
    `state_digest`. `input_size` is (channels, height, width) in pixels, `transform` turns an RGB image into
    a float tensor of that shape, `preprocessing` states what it does. `labels` says what the output units
    mean, None when nothing does.
    """

    network: torch.nn.Module = field(repr=False)
    name: str
    source: str
    weights: str
    weights_sha256: str
    input_size: tuple[int, int, int]
    preprocessing: Mapping[str, object]
    transform: Transform
    labels: LabelSpace | None = field(repr=False)
