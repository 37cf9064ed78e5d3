"""The bundled networks, built with timm: `demo`, trained on drawings, and `photo`, trained on photographs."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from se_probe.demo.stimuli import STIMULUS_SIZE
from se_probe.demo.subjects import SUBJECTS
from se_probe.errors import SeProbeError

_WEIGHTS = files("se_probe.demo") / "weights"
_LAYOUT: Mapping[str, Any] = {"layers": (2, 2, 2, 3), "stem_type": "deep", "stem_width": 8}
_SELECTIVE_KERNEL = {"rd_ratio": 1 / 16, "rd_divisor": 8, "split_input": False}
_ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "se": {"model_name": "seresnet50", "channels": (16, 24, 32, 44)},
    "sk": {
        "model_name": "skresnext50_32x4d",
        "channels": (16, 20, 24, 32),
        "cardinality": 4,
        "base_width": 32,
        "block_args": {"sk_kwargs": _SELECTIVE_KERNEL},
    },
    "sa": {"model_name": "resnest14d", "channels": (16, 20, 24, 32), "base_width": 96},
}
"""Changes to published architectures: fewer blocks, fewer channels, a narrow stem."""

DEMO_MODELS: tuple[str, ...] = tuple(_ARCHITECTURES)
"""Kinds of the demo's networks; "sa" is split attention, as in ResNeSt."""

_PHOTO_ARCHITECTURES: Mapping[str, str] = {"se": "seresnet50", "sk": "skresnet50"}

PHOTO_MODELS: tuple[str, ...] = tuple(_PHOTO_ARCHITECTURES)
"""Kinds of the networks that were trained on photographs."""

PHOTO_SIZE = 64
"""Side of the input of photo networks in pixels: that of Tiny-ImageNet's photographs."""

PHOTO_WNIDS: tuple[str, ...] = tuple(json.loads((_WEIGHTS / "photo_wnids.json").read_text("utf-8")))
"""The classes of photo networks, from Tiny-ImageNet, in the order of their output units."""


def demo_network(kind: str) -> torch.nn.Module:
    """Build the demo network of this kind with its bundled weights, in eval mode.

    Its preprocessing and, in output order, its wnids (`label_names`) are in `pretrained_cfg`.

    Args:
        kind: "se", "sk" or "sa" (see `DEMO_MODELS`).

    Raises:
        SeProbeError: there is no such kind.
    """
    return _with_weights(build_network(kind), kind)


def build_network(kind: str) -> torch.nn.Module:
    """Build the demo network of this kind with random weights.

    Args:
        kind: "se", "sk" or "sa" (see `DEMO_MODELS`).

    Raises:
        SeProbeError: there is no such kind.
    """
    if kind not in _ARCHITECTURES:
        raise SeProbeError(f"there is no demo network {kind!r}; choose one of {', '.join(DEMO_MODELS)}")
    wnids = [subject.wnid for subject in SUBJECTS.values()]
    network: torch.nn.Module = timm.create_model(
        **_ARCHITECTURES[kind], **_LAYOUT, num_classes=len(wnids), pretrained_cfg=_config(STIMULUS_SIZE, wnids)
    )
    return network


def photo_network(kind: str) -> torch.nn.Module:
    """Build the network of this kind that was trained on photographs, with its bundled weights, in eval mode.

    It is a quarter-width ResNet-50 without max-pool for 50 classes of Tiny-ImageNet (64×64 pixels), with
    `pretrained_cfg` as in `demo_network`.

    Args:
        kind: "se" or "sk" (see `PHOTO_MODELS`).

    Raises:
        SeProbeError: there is no such kind.
    """
    if kind not in _PHOTO_ARCHITECTURES:
        raise SeProbeError(f"there is no photo network {kind!r}; choose one of {', '.join(PHOTO_MODELS)}")
    network: torch.nn.Module = timm.create_model(
        _PHOTO_ARCHITECTURES[kind],
        channels=(16, 32, 64, 128),
        num_classes=len(PHOTO_WNIDS),
        pretrained_cfg=_config(PHOTO_SIZE, PHOTO_WNIDS),
    )
    network.maxpool = torch.nn.Identity()
    return _with_weights(network, f"photo_{kind}")


def _config(side: int, wnids: Sequence[str]) -> dict[str, Any]:
    return {
        "input_size": (3, side, side),
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "num_classes": len(wnids),
        "label_names": list(wnids),
    }


def _with_weights(network: torch.nn.Module, name: str) -> torch.nn.Module:
    with as_file(_WEIGHTS / f"{name}.safetensors") as path:
        network.load_state_dict(load_file(path))
    return network.eval()
