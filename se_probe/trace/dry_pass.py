"""Dry passes: run a network once, leave it as it was, and explain failures."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from se_probe.errors import SeProbeError, first_line
from se_probe.trace.example import IMAGES, Example, noise_for
from se_probe.trace.watching import tensors_in

Watched = TypeVar("Watched")


def unwrap(network: nn.Module) -> nn.Module:
    """Return the plain network inside DataParallel, DistributedDataParallel and torch.compile wrappers.

    Raises:
        SeProbeError: the network is scripted, exported or compiled in place, so that modules cannot be watched.
    """
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif isinstance(inner := getattr(network, "_orig_mod", None), nn.Module):
            network = inner
        else:
            break
    _check_watchable(network)
    return network


def _check_watchable(network: nn.Module) -> None:
    if isinstance(network, torch.export.ExportedProgram) or hasattr(network, "_guards_fn"):
        raise SeProbeError(
            "the network is a torch.export program, in which the modules that make gates are gone; pass the Python "
            "network that it was exported from."
        )
    if not isinstance(network, nn.Module):
        raise SeProbeError(f"the network is a {type(network).__name__}; expected a torch.nn.Module.")
    if any(map(nn.parameter.is_lazy, network.parameters())):
        raise SeProbeError(
            f"{type(network).__name__} has lazy modules whose parameters have no shape yet; run it once on an example."
        )
    for path, module in network.named_modules():
        what = f"the part {path!r}" if path else "the network"
        if isinstance(module, torch.jit.ScriptModule):
            raise SeProbeError(
                f"{what} is a scripted {module.original_name}, inside which modules cannot be told apart; pass the "
                "Python network that it was scripted from."
            )
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise SeProbeError(
                f"{what} was compiled in place by .compile(), and compiled code does not show its products; build the "
                "network again and pass it before it is compiled."
            )


def default_input_size(network: nn.Module) -> tuple[int, ...]:
    """Return `(3, H, W)` from the network's own timm configuration, else (3, 224, 224)."""
    config = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None) or {}
    return tuple(config.get("input_size", (3, 224, 224)))


@contextmanager
def left_alone(network: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Put a network in evaluation mode; at the end restore its modules' attributes and the random state."""
    before = [(module, dict(module.__dict__), dict(module._buffers)) for module in network.modules()]
    devices = {item.device.index for item in network.parameters() if item.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)):
        if seed is not None:
            torch.manual_seed(seed)
        network.eval()
        try:
            yield
        finally:
            for module, attributes, buffers in before:
                module.__dict__.clear()
                module.__dict__.update(attributes)
                module._buffers.clear()
                module._buffers.update(buffers)


def dry_pass(
    network: nn.Module,
    size: Sequence[int],
    watch: Callable[[nn.Module, torch.Tensor], Watched],
    images: int = IMAGES,
) -> Watched:
    """Call `watch` with an unwrapped network, in evaluation mode, and a batch of noise; return its result.

    Args:
        network: the network.
        size: size of its input without the image axis.
        watch: makes one pass.
        images: number of images.

    Raises:
        SeProbeError: the pass failed.
    """
    batch = noise_for(network, size, images)
    return watched_pass(network, Example((batch,), {}, images), lambda: watch(network, batch))


def watched_pass(
    network: nn.Module, example: Example, watch: Callable[[], Watched], seed: int | None = None
) -> Watched:
    """Call `watch`, which makes one pass over an example, with the network in evaluation mode.

    Raises:
        SeProbeError: the pass failed.
    """
    with left_alone(network, seed):
        try:
            return watch()
        except SeProbeError:
            raise
        except Exception as error:
            raise SeProbeError(explanation(network, example, error)) from error


def meta_copy(network: nn.Module) -> nn.Module | None:
    """Return a copy of a network on the meta device, None if it cannot be copied."""
    tensors = [*network.parameters(), *network.buffers()]
    if all(item.is_meta for item in tensors):
        return network
    try:
        shapes = {id(item): item.to("meta") for item in tensors}
        for item in network.parameters():
            shapes[id(item)] = nn.Parameter(shapes[id(item)], requires_grad=False)
        return copy.deepcopy(network, shapes)
    except Exception:  # A network may hold anything; passes then run on the network itself.
        return None


# Patterns of torch's error messages and their explanations; the first match counts.
_CAUSES = (
    (
        r"missing \d+ required .*argument",
        "takes more than one input ({error}); pass inputs= with all of them, as the network is called",
    ),
    (
        r"scalar types?:? Long|Long, Int|expected .*(?:Long|Int)|indices.*(?:Long|Int)|must be .*(?:long|int|byte)",
        "takes whole numbers, not the values of a picture ({error}); pass inputs= with an example, such as its tokens",
    ),
    (
        r"quantized|Quantized|QInt|quint8|qint8",
        "has statically quantised modules, which this pass cannot run ({error}); pass the network from before it "
        "was quantised",
    ),
    (
        r"out of memory|not enough memory|can't allocate memory|^MemoryError",
        "ran out of memory ({error}); pass a smaller input_size, or run it on a device with more memory",
    ),
    (
        r"shapes? cannot be multiplied|size mismatch|must match|Expected \d.*dimension|expected input|channels|doesn't"
        r" match|should be|Kernel size can't be greater|invalid for input of size|Output size is too small|"
        r"not divisible|normalized_shape|must be divisible|expand",
        "does not take this size ({error}); pass the input_size that it expects, or inputs= with an example",
    ),
)


def explanation(network: nn.Module, example: Example, error: Exception) -> str:
    """Explain in one sentence why a pass failed, and what to do."""
    shapes = ", ".join(str(tuple(item.shape)) for item in tensors_in((example.args, example.kwargs)))
    said = first_line(error)
    text = "MemoryError" if isinstance(error, MemoryError) else str(error)
    cause = next((sentence for pattern, sentence in _CAUSES if re.search(pattern, text)), None)
    if cause is None:
        cause = (
            "cannot be watched ({error}), though it runs; please report the network"
            if _runs(network, example)
            else "fails by itself ({error}), watched or not; make a pass in evaluation mode work, or pass inputs= with "
            "an example if it expects others"
        )
    cause = cause.replace("{error}", said)
    return f"the dry pass of {type(network).__name__} with input {shapes} failed: the network {cause}."


def _runs(network: nn.Module, example: Example) -> bool:
    try:
        with torch.no_grad():
            example.call(network)
    except Exception:
        return False
    return True
