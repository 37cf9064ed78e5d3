"""A dry pass: what a network needs for one, and one pass over noise that leaves it as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from se_probe.errors import SeProbeError, first_line

Watched = TypeVar("Watched")


def unwrap(network: nn.Module) -> nn.Module:
    """Return the plain network inside DataParallel, DistributedDataParallel and torch.compile wrappers."""
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif isinstance(inner := getattr(network, "_orig_mod", None), nn.Module):
            network = inner
        else:
            break
    if isinstance(network, torch.jit.ScriptModule):
        raise SeProbeError(
            f"the network is a scripted {network.original_name}, inside which modules cannot be told apart; "
            "pass the Python network that it was scripted from."
        )
    return network


def default_input_size(network: nn.Module) -> tuple[int, ...]:
    """Return `(3, H, W)` from the network's own timm configuration, else (3, 224, 224)."""
    config = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None) or {}
    return tuple(config.get("input_size", (3, 224, 224)))


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode and give every module its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def dry_pass(
    network: nn.Module, size: Sequence[int], watch: Callable[[nn.Module, torch.Tensor], Watched], images: int = 2
) -> Watched:
    """Return what `watch` sees of one pass of an unwrapped network, in evaluation mode, over a batch of noise.

    Raises:
        SeProbeError: the pass failed.
    """
    with evaluation_mode(network), torch.random.fork_rng(devices=[]):
        try:
            return watch(network, noise_for(network, size, images))
        except Exception as error:
            raise SeProbeError(
                f"the dry pass of {type(network).__name__} with input {(images, *size)} failed ({first_line(error)}); "
                "pass the input_size that it expects."
            ) from error


def noise_for(network: nn.Module, size: Sequence[int], images: int = 2, seed: int = 0) -> torch.Tensor:
    """Return a batch of noise on a network's device and in its dtype, `(images, *size)`, the same for a seed."""
    parameter = next((item for item in network.parameters() if item.is_floating_point()), torch.empty(0))
    values = torch.randn(images, *size, generator=torch.Generator().manual_seed(seed))
    return values.to(device=parameter.device, dtype=parameter.dtype)
