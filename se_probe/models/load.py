"""Loading a network by name, with its weights, preprocessing and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch

from se_probe.errors import SeProbeError
from se_probe.models.checkpoint import apply_checkpoint
from se_probe.models.demo_source import build_demo
from se_probe.models.digest import state_digest
from se_probe.models.file_source import build_from_file
from se_probe.models.network import BuiltNetwork, LoadedModel
from se_probe.models.outputs import output_labels
from se_probe.models.preprocessing import timm_preprocessing
from se_probe.models.spec import parse_spec
from se_probe.models.timm_source import build_hub, build_timm
from se_probe.models.torchvision_source import build_torchvision

_LIBRARIES = {"timm": build_timm, "hf-hub": build_hub, "torchvision": build_torchvision}
_OWN_WEIGHTS = {"file": build_from_file, "demo": build_demo}


def load_model(
    spec: str,
    *,
    checkpoint: str | Path | None = None,
    model_args: Mapping[str, object] | None = None,
    random_weights: bool = False,
    seed: int = 0,
) -> LoadedModel:
    """Return the network that `spec` names, ready to be recorded.

    `spec` is a timm name, `torchvision:NAME`, `hf-hub:ORG/NAME`, `path/to/file.py:function` or `demo:KIND`;
    `model_args` go to its builder. Weights are the pretrained ones (downloaded by timm or torchvision when
    no cache holds them), those of `checkpoint`, or with `random_weights` an initialisation drawn from `seed`;
    with the latter two nothing pretrained is looked for. The caller's random state is left as it was.

    Raises:
        SeProbeError: the network, its arguments or its weights cannot be used; the message says why.
    """
    source, rest = parse_spec(spec)
    if random_weights and (checkpoint is not None or source in _OWN_WEIGHTS):
        other = "a checkpoint was given" if checkpoint is not None else f"{spec} brings its own"
        raise SeProbeError(f"random weights were asked for, but {other}; choose one of the two")
    pretrained = checkpoint is None and not random_weights
    with _seeded(seed):
        built = _build(source, rest, dict(model_args or {}), pretrained=pretrained)
    weights = f"random (seed {seed})" if random_weights else built.weights
    if checkpoint is not None:
        weights = apply_checkpoint(built.network, Path(checkpoint).expanduser(), built.name)
    return _finish(built, weights)


def load_architecture(spec: str, *, model_args: Mapping[str, object] | None = None) -> LoadedModel:
    """Return a network for which weights do not matter: nothing pretrained is looked for or downloaded.

    Args as in `load_model`. Networks of files and of the demo come with the weights that they bring.

    Raises:
        SeProbeError: the network or its arguments cannot be used.
    """
    source, _ = parse_spec(spec)
    return load_model(spec, model_args=model_args, random_weights=source not in _OWN_WEIGHTS)


def model_of(network: torch.nn.Module, name: str | None = None) -> LoadedModel:
    """Return a network that is in memory already as one that is ready to be recorded; the caller's is copied.

    Preprocessing and labels come from its `pretrained_cfg`, as timm writes them.

    Args:
        network: any network for images.
        name: what to call it in recordings and figures, its class's name by default.

    Raises:
        SeProbeError: its `pretrained_cfg` cannot be used.
    """
    label = name or type(network).__name__
    preprocessing = timm_preprocessing(network, label, source=f"pretrained_cfg of {label}", model_args={})
    built = BuiltNetwork(deepcopy(network), label, "memory", "as given", preprocessing, output_labels(network))
    return _finish(built, built.weights)


def _build(source: str, rest: str, model_args: Mapping[str, object], *, pretrained: bool) -> BuiltNetwork:
    if source in _LIBRARIES:
        return _LIBRARIES[source](rest, model_args, pretrained=pretrained)
    return _OWN_WEIGHTS[source](rest, model_args)


def _finish(built: BuiltNetwork, weights: str) -> LoadedModel:
    network = built.network.cpu().eval().requires_grad_(False)
    return LoadedModel(
        network=network,
        name=built.name,
        source=built.source,
        weights=weights,
        weights_sha256=state_digest(network.state_dict()),
        input_size=built.preprocessing.input_size,
        preprocessing=built.preprocessing.facts,
        transform=built.preprocessing.transform,
        labels=built.labels,
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    # Networks are built on the CPU, so only its generator is touched, and put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
