"""Load a network by name, with its weights, preprocessing and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from timm.data import create_transform

from se_probe.errors import SeProbeError
from se_probe.models.checkpoint import apply_checkpoint
from se_probe.models.configuration import configured_model
from se_probe.models.file_source import build_from_file
from se_probe.models.network import LoadedModel, state_digest
from se_probe.models.spec import parse_spec
from se_probe.models.timm_source import build_hub, build_timm
from se_probe.models.torchvision_source import build_torchvision

_LIBRARIES = {"timm": build_timm, "hf-hub": build_hub, "torchvision": build_torchvision}
_OWN_WEIGHTS = ("file", "demo", "photo")

# What timm needs to resize and crop photographs to another size.
_RESIZING = ("interpolation", "mean", "std", "crop_pct")


def load_model(
    spec: str,
    *,
    checkpoint: str | Path | None = None,
    model_args: Mapping[str, object] | None = None,
    random_weights: bool = False,
    seed: int = 0,
) -> LoadedModel:
    """Return the network that `spec` names, ready to be recorded, and restore the caller's random state.

    Args:
        spec: a timm name, `torchvision:NAME`, `hf-hub:ORG/NAME`, `path/to/file.py:function`, `demo:KIND` or
            `photo:KIND`.
        checkpoint: a file with the weights, in place of pretrained ones.
        model_args: arguments of the network's builder.
        random_weights: keep an initialisation drawn from `seed`. The default are pretrained weights, which timm or
            torchvision downloads where no cache holds them.
        seed: of the initialisation.

    Raises:
        SeProbeError: the network, its arguments or its weights cannot be used, or it takes no photographs.
    """
    return _for_images(_load(spec, checkpoint, model_args or {}, random_weights, seed))


def load_architecture(spec: str, *, model_args: Mapping[str, object] | None = None) -> LoadedModel:
    """Return a network without pretrained weights; nothing is downloaded.

    Its input may have any number of channels. Args as in `load_model`. Networks of files and the bundled ones have
    their own weights.

    Raises:
        SeProbeError: the network or its arguments cannot be used.
    """
    source, _ = parse_spec(spec)
    return _load(spec, None, model_args or {}, source not in _OWN_WEIGHTS, 0)


def model_of(network: torch.nn.Module, name: str | None = None) -> LoadedModel:
    """Return a copy of a network in memory, ready to be recorded.

    Preprocessing and labels come from its `pretrained_cfg`, as timm writes them.

    Args:
        network: any network for photographs, in eval mode.
        name: its name in recordings and figures, by default that of its class.

    Raises:
        SeProbeError: it is in training mode, its `pretrained_cfg` cannot be used, or its parameters have no values.
    """
    label = name or type(network).__name__
    if any(module.training for module in network.modules()):
        raise SeProbeError(
            f"{label} is in training mode, in which batch statistics and dropout change its gates; call "
            "network.eval() first"
        )
    _require_values(network, label)
    return _for_images(_finish(configured_model(deepcopy(network), label, "memory", "as given")))


def with_input_size(model: LoadedModel, size: int | Sequence[int]) -> LoadedModel:
    """Return a network with another input size, to which photographs are resized and cropped.

    Args:
        model: a network for photographs.
        size: side in pixels, or (height, width), or (channels, height, width).

    Raises:
        SeProbeError: its preprocessing does not state how photographs are resized.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    facts = {key: model.preprocessing[key] for key in _RESIZING if key in model.preprocessing}
    if len(facts) < len(_RESIZING):
        missing = ", ".join(key for key in _RESIZING if key not in facts)
        raise SeProbeError(f"the preprocessing of {model.name} does not state {missing}, which --input-size needs")
    shape = (model.input_size[0], *sides)
    made = create_transform(input_size=shape, is_training=False, **facts)
    preprocessing = {**model.preprocessing, "input_size": list(shape)}
    return replace(model, input_size=shape, transform=made, preprocessing=preprocessing)


def _load(
    spec: str, checkpoint: str | Path | None, model_args: Mapping[str, object], random_weights: bool, seed: int
) -> LoadedModel:
    source, rest = parse_spec(spec)
    if random_weights and (checkpoint is not None or source in _OWN_WEIGHTS):
        other = "a checkpoint was given" if checkpoint is not None else f"{spec} brings its own"
        raise SeProbeError(f"random weights were requested, but {other}; choose one of the two")
    pretrained = checkpoint is None and not random_weights
    # Networks are built on the CPU, so only its generator is touched, and put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        built = _build(source, rest, dict(model_args), pretrained=pretrained)
    _require_values(built.network, built.name)
    if random_weights:
        built = replace(built, weights=f"random (seed {seed})")
    if checkpoint is not None:
        used = apply_checkpoint(built.network, Path(checkpoint).expanduser(), built.name)
        built = replace(built, weights=used)
    return _finish(built)


def _build(source: str, rest: str, model_args: Mapping[str, object], *, pretrained: bool) -> LoadedModel:
    if source in _LIBRARIES:
        return _LIBRARIES[source](rest, model_args, pretrained=pretrained)
    if source == "file":
        return build_from_file(rest, model_args)
    return _build_bundled(source, rest, model_args)


def _build_bundled(source: str, kind: str, model_args: Mapping[str, object]) -> LoadedModel:
    """Build `demo:KIND`, trained on drawings, or `photo:KIND`, on photographs, with its bundled weights."""
    from se_probe.demo import DEMO_CLASSES, DEMO_MODELS, PHOTO_CLASSES, PHOTO_MODELS, demo_network, photo_network

    kinds, labels, build = {
        "demo": (DEMO_MODELS, DEMO_CLASSES, demo_network),
        "photo": (PHOTO_MODELS, PHOTO_CLASSES, photo_network),
    }[source]
    spec = f"{source}:{kind}"
    if kind not in kinds:
        expected = ", ".join(f"{source}:{known}" for known in kinds)
        raise SeProbeError(f'there is no {source} network "{kind}"; expected one of {expected}')
    if model_args:
        raise SeProbeError(f"the {source} networks take no arguments; leave out {', '.join(model_args)}")
    return replace(configured_model(build(kind), spec, source, "bundled with se-probe"), labels=labels)


def _finish(model: LoadedModel) -> LoadedModel:
    network = model.network.cpu().eval().requires_grad_(False)
    return replace(model, network=network, weights_sha256=state_digest(network.state_dict()))


def _for_images(model: LoadedModel) -> LoadedModel:
    if model.input_size[0] != 3:
        raise SeProbeError(
            f"{model.name} expects {model.input_size[0]} input channels; photographs have 3, red, green and blue"
        )
    return model


def _require_values(network: torch.nn.Module, name: str) -> None:
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    missing = [key for key, tensor in state.items() if tensor.device.type == "meta"]
    if missing:
        raise SeProbeError(
            f"{len(missing)} tensors of {name} are on the meta device and have no values ({missing[0]} is the first); "
            "build it on the CPU, or load weights with load_state_dict(..., assign=True)"
        )
