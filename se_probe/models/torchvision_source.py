"""Networks of torchvision, with the preprocessing and the classes that their weights carry."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from urllib.error import HTTPError

import torch
import torchvision
from torchvision.models import Weights, get_model, get_model_weights, list_models

from se_probe.errors import SeProbeError, one_line
from se_probe.labels import LabelSpace, imagenet
from se_probe.models.availability import cached_url_file, require_url, url_failure
from se_probe.models.configuration import named_outputs
from se_probe.models.network import LoadedModel
from se_probe.models.spec import describe_call, near_names, refuse_weight_arguments

_BUILD_ERRORS = (TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError)


def build_torchvision(name: str, model_args: Mapping[str, object], *, pretrained: bool) -> LoadedModel:
    """Build a torchvision classification network, with its default weights when `pretrained`."""
    refuse_weight_arguments(model_args)
    weights = _default_weights(name)
    if pretrained:
        _fetch(name, weights)
    arguments = dict(model_args) if pretrained else {**size_argument(name), **model_args}
    try:
        network: torch.nn.Module = get_model(name, weights=weights if pretrained else None, **arguments)
    except _BUILD_ERRORS as error:
        raise SeProbeError(
            f"torchvision cannot build {describe_call(name, arguments)} ({one_line(error)}); "
            "check the arguments given with --model-arg"
        ) from error
    transform = weights.transforms()
    crop, resize = int(transform.crop_size[0]), int(transform.resize_size[0])
    preprocessing = {
        "input_size": [3, crop, crop],
        "resize_size": resize,
        "crop_pct": crop / resize,
        "interpolation": transform.interpolation.value,
        "mean": list(transform.mean),
        "std": list(transform.std),
        "source": f"torchvision {weights}",
    }
    return LoadedModel(
        network=network,
        name=f"torchvision:{name}",
        source="torchvision",
        weights=f"pretrained {weights.name}",
        input_size=(3, crop, crop),
        preprocessing=preprocessing,
        transform=transform,
        labels=_labels(weights, model_args),
    )


def size_argument(name: str) -> dict[str, int]:
    """Return the builder's argument that sets the input size of the default weights, where they are not loaded."""
    # Only the vision transformers are tied to a size, and only their weights say which.
    return {"image_size": _default_weights(name).transforms().crop_size[0]} if name.startswith("vit_") else {}


def _default_weights(name: str) -> Weights:
    known = list_models(module=torchvision.models)
    if name not in known:
        raise SeProbeError(
            f'torchvision {torchvision.__version__} has no classification network "{name}"'
            f"{near_names(name, known)}; se-probe models PATTERN lists those with gates"
        )
    return get_model_weights(name).DEFAULT


def _fetch(name: str, weights: Weights) -> None:
    """Let torchvision download missing weights, and require tensors only: the builder would unpickle anything."""
    wanted = f"the weights of torchvision:{name}"
    require_url(weights.url, wanted)
    file = cached_url_file(weights.url)
    try:
        weights.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
    except OSError as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the server's answer as well, with its connection
        raise url_failure(weights.url, wanted, f"its download failed ({one_line(error)})") from error
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise SeProbeError(
            f"{file} cannot be read as tensors alone ({one_line(error)}); remove it, so that it is fetched again"
        ) from error


def _labels(weights: Weights, model_args: Mapping[str, object]) -> LabelSpace | None:
    categories = weights.meta["categories"]
    if model_args.get("num_classes", len(categories)) != len(categories):
        return None
    # torchvision's thousand categories are ImageNet's in order, under display names of its own.
    return imagenet() if len(categories) == len(imagenet().classes) else named_outputs(categories)
