"""Read preprocessing and output labels from a network's configuration (timm's `pretrained_cfg`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass

import torch
from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset, resolve_data_config

from se_probe.errors import SeProbeError
from se_probe.labels import LabelSpace, imagenet, label_space_from_names
from se_probe.models.network import LoadedModel

TIMM_DEFAULTS = "timm's defaults (the network has no pretrained_cfg)"
_IMAGENET_1K = "imagenet-1k"


def network_config(network: torch.nn.Module, name: str) -> Mapping[str, object]:
    """Return the network's `pretrained_cfg` or `default_cfg` as a mapping, empty when it has neither."""
    for attribute in ("pretrained_cfg", "default_cfg"):
        config = getattr(network, attribute, None)
        if is_dataclass(config) and not isinstance(config, type):
            return asdict(config)
        if not isinstance(config, Mapping | None):
            raise SeProbeError(
                f"the {attribute} of {name} is of type {type(config).__name__}; expected a dictionary as timm writes "
                "it, or none"
            )
        if config:
            return {str(key): value for key, value in config.items()}
    return {}


def configured_model(
    network: torch.nn.Module,
    name: str,
    source: str,
    weights: str,
    model_args: Mapping[str, object] | None = None,
    *,
    configuration: str = "",
) -> LoadedModel:
    """Return a network with timm's evaluation transform and the labels that its configuration states.

    `model_args` are the builder's: `img_size` replaces the configured size, `in_chans` the channels. `configuration`
    says where the configuration comes from, the network's own `pretrained_cfg` by default.
    """
    model_args = model_args or {}
    config = network_config(network, name)
    try:
        data = resolve_data_config(_size_argument(model_args), pretrained_cfg=dict(config), model=network)
        _require_numbers(data)
        transform = create_transform(**data, is_training=False)
        channels, height, width = (int(size) for size in data["input_size"])
    except (TypeError, ValueError, AssertionError, KeyError, AttributeError, ArithmeticError) as error:
        raise SeProbeError(
            f"the preprocessing of {name} cannot be made from its pretrained_cfg ({error}); expected "
            "input_size, mean, std, interpolation and crop_pct as timm writes them"
        ) from error
    given = model_args.get("in_chans")
    size = (given if isinstance(given, int) else channels, height, width)
    facts = {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}
    facts["source"] = (configuration or f"pretrained_cfg of {name}") if config else TIMM_DEFAULTS
    return LoadedModel(network, name, source, weights, size, facts, transform, output_labels(network, name))


def output_labels(network: torch.nn.Module, name: str) -> LabelSpace | None:
    """Return the label space of the network's output units, None where it is not known.

    These are the `label_names` in the network's configuration, or else timm's guess from the number of classes (1000
    units are ImageNet-1k).
    """
    config = network_config(network, name)
    units = getattr(network, "num_classes", config.get("num_classes"))
    names = config.get("label_names")
    if isinstance(names, Sequence) and units in (None, len(names)):
        return named_outputs([str(name) for name in names])
    # Without a configuration, `num_classes` may mean anything.
    subset = infer_imagenet_subset({"num_classes": units}) if config else None
    if subset is None:
        return None
    if subset == _IMAGENET_1K:
        return imagenet()
    return label_space_from_names(ImageNetInfo(subset).label_names(), subset)


def named_outputs(names: Sequence[str]) -> LabelSpace:
    """Return the label space of output units with these names, ImageNet-1k for its WordNet ids."""
    space = imagenet()
    if list(names) == [image_class.wnid for image_class in space.classes]:
        return space
    return label_space_from_names(names, "labels of the network")


def _require_numbers(data: Mapping[str, object]) -> None:
    """Refuse numbers that timm accepts but that fail, or give infinities, at the first image."""
    for key in ("input_size", "mean", "std"):
        values = data[key]
        if not isinstance(values, Sequence) or isinstance(values, str) or not all(map(_is_number, values)):
            raise ValueError(f"{key} is {values!r}, not a list of numbers")
        if any(value <= 0 for value in values if key != "mean"):
            raise ValueError(f"{key} is {values!r}, and each must be above 0")
    crop = data["crop_pct"]
    if not _is_number(crop) or not crop > 0:  # type: ignore[operator]
        raise ValueError(f"crop_pct is {crop!r}, not a number above 0")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _size_argument(model_args: Mapping[str, object]) -> dict[str, object]:
    size = model_args.get("img_size")
    if size is None:
        return {}
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return {"input_size": (3, height, width)}
