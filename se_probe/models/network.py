"""A network ready to be recorded, the digest that identifies its weights, and its twin with fresh weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch
from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.labels import LabelSpace

Transform = Callable[[Image.Image], torch.Tensor]


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to be recorded: in eval mode, on the CPU, without gradients.

    Attributes:
        network: the network.
        name: its name as resolved.
        source: "timm", "torchvision", "hf-hub", "file", "demo", "photo" or "memory".
        weights: one phrase that says where the parameters come from.
        input_size: size of its input without the image axis; (channels, height, width) in pixels for images.
        preprocessing: facts about `transform`, JSON-able; "source" says where its configuration came from.
        transform: turns an RGB image into a float tensor of shape `input_size`; it can be pickled.
        labels: what the output units mean, None when nothing says it.
        weights_sha256: the digest of `state_digest`, "" until the weights are loaded.
    """

    network: torch.nn.Module = field(repr=False)
    name: str
    source: str
    weights: str
    input_size: tuple[int, ...]
    preprocessing: Mapping[str, object] = field(repr=False)
    transform: Transform = field(repr=False)
    labels: LabelSpace | None = field(repr=False)
    weights_sha256: str = ""


def state_digest(state: Mapping[str, object]) -> str:
    """Return the SHA-256, in hexadecimal, of a state dict's tensors.

    In the order of their names, each tensor contributes its name, dtype, shape and raw bytes in row-major order. The
    digest depends neither on the device nor on the file format. Entries that are not tensors are left out.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            # Through uint8, because NumPy has no bfloat16.
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fresh_weights(model: LoadedModel, seed: int) -> LoadedModel:
    """Return a copy of a network with weights initialised again: the null model of Adebayo et al., arXiv 1810.03292.

    Every module draws its parameters by its own `reset_parameters`; batch norms forget their statistics.
    """
    network = deepcopy(model.network)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, module in network.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            elif next(module.parameters(recurse=False), None) is not None:
                raise SeProbeError(
                    f"{type(module).__name__} {name!r} of {model.name} has parameters and no reset_parameters, so that "
                    "fresh weights cannot be drawn for it; leave out --null."
                )
    weights = f"fresh (seed {seed})"
    return replace(model, network=network.eval(), weights=weights, weights_sha256=state_digest(network.state_dict()))
