"""Preprocessing in timm's form, from the configuration that a network carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass

import torch
from timm.data import create_transform, resolve_data_config

from se_probe.errors import SeProbeError
from se_probe.models.network import Preprocessing

TIMM_DEFAULTS = "timm's defaults (the network has no pretrained_cfg)"


def network_config(network: torch.nn.Module) -> Mapping[str, object]:
    """Return the network's `pretrained_cfg` or `default_cfg` as a mapping, empty when it has neither."""
    for attribute in ("pretrained_cfg", "default_cfg"):
        config = getattr(network, attribute, None)
        if is_dataclass(config) and not isinstance(config, type):
            return asdict(config)
        if isinstance(config, Mapping) and config:
            return {str(key): value for key, value in config.items()}
    return {}


def timm_preprocessing(
    network: torch.nn.Module, name: str, *, source: str, model_args: Mapping[str, object]
) -> Preprocessing:
    """Return timm's own evaluation transform for the network's configuration.

    `source` says where that configuration comes from; an `img_size` among `model_args` replaces its size.

    Raises:
        SeProbeError: timm cannot read the configuration, or the network does not take three channels.
    """
    config = network_config(network)
    try:
        data = resolve_data_config(_size_argument(model_args), pretrained_cfg=dict(config), model=network)
        transform = create_transform(**data, is_training=False)
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise SeProbeError(
            f"the preprocessing of {name} cannot be made from its pretrained_cfg ({error}); expected "
            "input_size, mean, std, interpolation and crop_pct as timm writes them"
        ) from error
    channels, height, width = (int(size) for size in data["input_size"])
    expected = model_args.get("in_chans", channels)
    if expected != 3 or channels != 3:
        raise SeProbeError(f"{name} expects {expected} input channels; photographs have 3, red, green and blue")
    facts = {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}
    origin = source if config else TIMM_DEFAULTS
    return Preprocessing((channels, height, width), transform, {**facts, "source": origin})


def _size_argument(model_args: Mapping[str, object]) -> dict[str, object]:
    size = model_args.get("img_size")
    if size is None:
        return {}
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return {"input_size": (3, height, width)}
