"""Networks of timm: by their names, and from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import timm
import torch
from huggingface_hub.errors import HFValidationError
from timm.models import PretrainedCfg

from se_probe.errors import SeProbeError, one_line
from se_probe.models.availability import cached_hub_file, hub_failure, require_hub, require_url, url_failure
from se_probe.models.configuration import configured_model, network_config
from se_probe.models.network import LoadedModel
from se_probe.models.spec import describe_call, near_names, refuse_weight_arguments

_BUILD_ERRORS = (TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError, AttributeError)
# timm prefers safetensors to the pickled file of the same weights.
_HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def build_timm(name: str, model_args: Mapping[str, object], *, pretrained: bool) -> LoadedModel:
    """Build the timm network `name` (`architecture` or `architecture.tag`), downloading weights if need be."""
    refuse_weight_arguments(model_args)
    config = _registered_config(name)
    network = _with_weights(name, model_args, config) if pretrained else _create(name, model_args)
    configured = f"{config.architecture}.{config.tag}" if config.tag else name
    # A tag names weights; with other weights the name is that of the architecture.
    resolved = configured if pretrained else name.partition(".")[0]
    weights = f"pretrained {config.tag or ''}".rstrip() + _untrained_classifier(network, config.num_classes)
    return configured_model(network, resolved, "timm", weights, model_args, configuration=f"timm {configured}")


def build_hub(hub_id: str, model_args: Mapping[str, object], *, pretrained: bool) -> LoadedModel:
    """Build a network that timm reads from the hub repository `ORG/NAME` or `ORG/NAME@REVISION`.

    The repository names the architecture, so its `config.json` is needed even when the weights are not.
    """
    refuse_weight_arguments(model_args)
    wanted = f"{'the weights' if pretrained else 'the configuration'} of hf-hub:{hub_id}"
    name = f"hf-hub:{hub_id}"
    folder = _cached_snapshot(hub_id, weights=pretrained)
    if folder is None:
        require_hub(hub_id, "config.json", wanted)
        failure = partial(hub_failure, hub_id, wanted)
        network = _create(name, model_args, failure=failure, pretrained=pretrained)
    else:
        failure = partial(_unreadable, folder)
        network = _create(f"local-dir:{folder}", model_args, failure=failure, pretrained=pretrained)
    weights = f"pretrained {hub_id}" + _untrained_classifier(network, network_config(network, name)["num_classes"])
    return configured_model(network, name, "hf-hub", weights, model_args, configuration=f"config.json of {name}")


def _registered_config(name: str) -> PretrainedCfg:
    architecture, _, tag = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        raise SeProbeError(
            f'timm {timm.__version__} has no network "{architecture}"{near_names(architecture, known)}; '
            "se-probe models PATTERN lists those with gates"
        )
    tags = [entry.partition(".")[2] for entry in timm.list_models(f"{architecture}.*", include_tags=True)]
    if tag and tag not in tags:
        raise SeProbeError(
            f'timm {timm.__version__} has no weights "{tag}" for {architecture}; '
            f"expected {' or '.join(filter(None, tags)) or 'no tag'}"
        )
    return timm.get_pretrained_cfg(name) or PretrainedCfg(architecture=architecture)


def _with_weights(name: str, model_args: Mapping[str, object], config: PretrainedCfg) -> torch.nn.Module:
    """Build the network with weights from the local hub cache, or let timm download them."""
    wanted = f"the weights of {name}"
    if not config.has_weights:
        raise SeProbeError(
            f"timm {timm.__version__} has no pretrained weights for {name}; "
            "give --checkpoint FILE, or --random-weights to look at an untrained network"
        )
    if not config.hf_hub_id:
        url = str(config.url[0] if isinstance(config.url, tuple | list) else config.url)
        require_url(url, wanted)
        return _create(name, model_args, failure=partial(url_failure, url, wanted), pretrained=True)
    files = (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_WEIGHTS
    cached = cached_hub_file(config.hf_hub_id, files)
    if cached is None:
        require_hub(config.hf_hub_id, files[0], wanted)
        failure = partial(hub_failure, config.hf_hub_id, wanted)
        return _create(name, model_args, failure=failure, pretrained=True)
    overlay = {"file": str(cached), "custom_load": config.custom_load}
    return _create(
        name, model_args, failure=partial(_unreadable, cached), pretrained=True, pretrained_cfg_overlay=overlay
    )


def _cached_snapshot(hub_id: str, *, weights: bool) -> Path | None:
    """Return the folder in the hub cache with all files that timm reads from a repository, if complete."""
    try:
        config = cached_hub_file(hub_id, ["config.json"])
    except HFValidationError as error:
        raise SeProbeError(f'"{hub_id}" is no hub id; expected ORG/NAME or ORG/NAME@REVISION') from error
    if config is None or (weights and cached_hub_file(hub_id, _HUB_WEIGHTS) is None):
        return None
    return config.parent


def _create(
    name: str,
    model_args: Mapping[str, object],
    failure: Callable[[str], SeProbeError] | None = None,
    **options: object,
) -> torch.nn.Module:
    """Let timm build the network; `failure` returns the error for weights that could not be obtained."""
    try:
        network: torch.nn.Module = timm.create_model(name, **options, **model_args)
    except _BUILD_ERRORS as error:
        raise SeProbeError(
            f"timm cannot build {describe_call(name, model_args)} ({one_line(error)}); "
            "check the arguments given with --model-arg"
        ) from error
    except Exception as error:  # the errors of downloads and files share no base class
        if failure is None:
            raise
        raise failure(f"reading it failed ({one_line(error)})") from error
    return network


def _unreadable(file: Path, reason: str) -> SeProbeError:
    return SeProbeError(f"{file} is in the hub cache, but {reason}; remove it, so that it is fetched again")


def _untrained_classifier(network: torch.nn.Module, trained: object) -> str:
    units = getattr(network, "num_classes", trained)
    return f" with an untrained classifier of {units} classes" if units not in (0, trained) else ""
