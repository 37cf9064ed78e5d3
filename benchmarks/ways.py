"""Ways of reading the same gates: a plain loop, the peers, and se-probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import reduce
from typing import Any

import torch
from torch import nn

from se_probe.gates import GateSite
from se_probe.recording.fast_copy import FastCopy, compiled
from se_probe.recording.forward import ForwardPass, HookedNetwork

Gates = list[torch.Tensor]
# Takes a batch of images and gives the gates of all sites, in network order.
Read = Callable[[torch.Tensor], Gates]


def plain_loop(network: nn.Module, paths: Sequence[str]) -> Read:
    """What users write: a hook on each module that puts its output away."""

    def read(images: torch.Tensor) -> Gates:
        seen: Gates = []
        handles = [
            network.get_submodule(path).register_forward_hook(lambda _m, _i, out: seen.append(out.detach().clone()))
            for path in paths
        ]
        with torch.inference_mode():
            network(images)
        for handle in handles:
            handle.remove()
        return seen

    return read


def bare_forward(network: nn.Module, channels_last: bool = False) -> Read:
    """The forward pass alone, which reads nothing."""
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def read(images: torch.Tensor) -> Gates:
        with torch.inference_mode():
            network(images.contiguous(memory_format=layout))
        return []

    return read


def captum(network: nn.Module, paths: Sequence[str]) -> Read:
    """captum's LayerActivation on all of the modules."""
    from captum.attr import LayerActivation

    layers = LayerActivation(network, [network.get_submodule(path) for path in paths])

    def read(images: torch.Tensor) -> Gates:
        with torch.no_grad():
            return list(layers.attribute(images))

    return read


def torchextractor(network: nn.Module, paths: Sequence[str]) -> Read:
    """torchextractor's Extractor, on a copy, since it never takes its hooks off."""
    from copy import deepcopy

    import torchextractor as extractors

    extractor = extractors.Extractor(deepcopy(network), list(paths))

    def read(images: torch.Tensor) -> Gates:
        with torch.no_grad():
            found = extractor(images)[1]
        return [found[path] for path in paths]

    return read


def torchvision(network: nn.Module, paths: Sequence[str]) -> Read:
    """torchvision's feature extraction, which traces the network with torch.fx."""
    from torchvision.models.feature_extraction import create_feature_extractor

    extractor = create_feature_extractor(network, list(paths))

    def read(images: torch.Tensor) -> Gates:
        with torch.inference_mode():
            found = extractor(images)
        return [found[path] for path in paths]

    return read


def nnsight(network: nn.Module, paths: Sequence[str]) -> Read:
    """nnsight's tracing context."""
    from nnsight import NNsight

    model = NNsight(network)
    parts = [reduce(_part, path.split("."), model) for path in paths]

    def read(images: torch.Tensor) -> Gates:
        with torch.inference_mode(), model.trace(images):
            seen = [part.output.save() for part in parts].save()
        return list(seen)

    return read


def _part(envoy: Any, name: str) -> Any:
    return envoy[int(name)] if name.isdecimal() else getattr(envoy, name)


def torchlens(network: nn.Module, paths: Sequence[str]) -> Read:
    """torchlens, which logs every operation of a pass and keeps those asked for."""
    import torchlens as lens
    from torchlens.options import CaptureOptions

    options = CaptureOptions(layers_to_save=list(paths), unwrap_when_done=True)

    def read(images: torch.Tensor) -> Gates:
        with torch.no_grad():
            trace = lens.trace(network, images, capture=options)
        return [trace[path].out for path in paths]

    return read


PEERS: dict[str, Callable[[nn.Module, Sequence[str]], Read]] = {
    "captum": captum,
    "nnsight": nnsight,
    "torchextractor": torchextractor,
    "torchvision": torchvision,
    "torchlens": torchlens,
}


def se_probe_ways(network: nn.Module, fast: FastCopy, half: FastCopy, sites: Sequence[GateSite]) -> dict[str, Read]:
    """se-probe as it is, by default, without what comes after the last gate, and in bfloat16, given as `half`.

    Beside the first two, the forward pass alone with the same settings.
    """
    ways = {
        "se-probe --exact": HookedNetwork(network, sites),
        "se-probe (default)": fast.hooked,
        "se-probe --no-predictions": HookedNetwork(
            fast.hooked.network, sites, predictions=False, channels_last=fast.hooked.channels_last
        ),
        "se-probe --dtype bfloat16": half.hooked,
    }
    return {name: _reading(hooked, hooked) for name, hooked in ways.items()} | {
        "bare forward as --exact": bare_forward(network),
        "bare forward as default": bare_forward(fast.hooked.network, fast.hooked.channels_last),
    }


def compiled_way(copy: FastCopy, sites: Sequence[GateSite], size: tuple[int, ...]) -> Read:
    """se-probe compiled for batches of one size; without sites the forward pass alone."""
    hooked = HookedNetwork(copy.hooked.network, sites, channels_last=copy.hooked.channels_last)
    with hooked.hooks():
        return _reading(compiled(hooked, size))


def _reading(run: ForwardPass, hooked: HookedNetwork | None = None) -> Read:
    def read(images: torch.Tensor) -> Gates:
        with hooked.hooks() if hooked else nullcontext(), torch.inference_mode():
            return list(run(images)[1].values())

    return read
