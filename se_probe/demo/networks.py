"""The demo's three small networks: squeeze-and-excitation, selective kernels, split attention; built with timm."""

from collections.abc import Mapping
from importlib.resources import as_file, files
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from se_probe.demo.stimuli import STIMULUS_SIZE
from se_probe.demo.subjects import SUBJECTS
from se_probe.errors import SeProbeError

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
"""What each network changes in a published architecture: fewer blocks, fewer channels, a narrow stem."""

DEMO_MODELS: tuple[str, ...] = tuple(_ARCHITECTURES)
"""Kinds of the demo's networks; "sa" is split attention, as in ResNeSt."""


def demo_network(kind: str) -> torch.nn.Module:
    """Build the demo network of this kind with its bundled weights, in eval mode.

    Its preprocessing and, in output order, its wnids (`label_names`) are in `pretrained_cfg`.

    Raises:
        SeProbeError: if there is no such kind.
    """
    network = build_network(kind)
    with as_file(files("se_probe.demo") / "weights" / f"{kind}.safetensors") as path:
        network.load_state_dict(load_file(path))
    return network.eval()


def build_network(kind: str) -> torch.nn.Module:
    """Build the demo network of this kind with random weights.

    Raises:
        SeProbeError: if there is no such kind.
    """
    if kind not in _ARCHITECTURES:
        raise SeProbeError(f"there is no demo network {kind!r}; choose one of {', '.join(DEMO_MODELS)}")
    wnids = [subject.wnid for subject in SUBJECTS.values()]
    preprocessing = {
        "input_size": (3, STIMULUS_SIZE, STIMULUS_SIZE),
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "num_classes": len(wnids),
        "label_names": wnids,
    }
    network: torch.nn.Module = timm.create_model(
        **_ARCHITECTURES[kind], **_LAYOUT, num_classes=len(wnids), pretrained_cfg=preprocessing
    )
    return network
