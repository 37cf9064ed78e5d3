"""Dry passes: run a network once over noise or an example, leave it unchanged, and explain failures."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from se_probe.errors import SeProbeError, first_line
from se_probe.trace.watching import tensors_in

# Images of a dry pass.
IMAGES = 2


@dataclass(frozen=True)
class Example:
    """The arguments of one call of a network."""

    # args, kwargs: positional and keyword arguments.
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    images: int  # number of images, on the first axis of every tensor whose first axis has this length

    def call(self, network: Callable[..., Any]) -> Any:
        """Call a network."""
        return network(*self.args, **self.kwargs)

    @property
    def input_size(self) -> tuple[int, ...]:
        """Size of the first tensor without the image axis."""
        return tuple(tensors_in((self.args, self.kwargs))[0].shape[1:])

    def map(self, change: Callable[[torch.Tensor], torch.Tensor], images: int | None = None) -> Example:
        """Return the example with a function applied to every tensor that holds images."""

        def changed(tensor: torch.Tensor) -> torch.Tensor:
            return change(tensor) if tensor.dim() and tensor.shape[0] == self.images else tensor

        args, kwargs = tree_map_only(torch.Tensor, changed, (self.args, dict(self.kwargs)))
        return Example(args, kwargs, self.images if images is None else images)

    def swapped(self) -> Example:
        """Return the example with its images in reverse order."""
        return self.map(lambda tensor: tensor.flip(0))

    def repeated(self, images: int) -> Example:
        """Return the example with another number of images, which are repeated if there are fewer."""
        return self.map(lambda tensor: tensor[torch.arange(images, device=tensor.device) % self.images], images)

    def on_meta(self) -> Example:
        """Return the example with shapes only."""
        args, kwargs = tree_map_only(torch.Tensor, lambda item: item.to("meta"), (self.args, dict(self.kwargs)))
        return Example(args, kwargs, self.images)

    def axes(self) -> list[tuple[int, int]]:
        """Return (axis, length) of every axis but the images', each once, in order."""
        tensors = [item for item in tensors_in((self.args, self.kwargs)) if item.dim() and len(item) == self.images]
        return list(dict.fromkeys(axis for tensor in tensors for axis in enumerate(tensor.shape[1:], 1)))

    def grown(self, axes: Sequence[tuple[int, int]]) -> Example:
        """Return the example with these axes of all tensors twice as long."""

        def longer(tensor: torch.Tensor) -> torch.Tensor:
            shape = tensor.shape
            for axis, length in axes:
                if axis < tensor.dim() and shape[axis] == length:
                    tensor = torch.cat([tensor, tensor], axis)
            return tensor

        return self.map(longer)


def noise_example(network: nn.Module, size: Sequence[int]) -> Example:
    """Return noise of a size as an example; contrast and brightness differ between the images."""
    noise = noise_for(network, size)
    if not noise.is_meta:
        noise[1::2] = noise[1::2] * 0.5 + 0.25
    return Example((noise,), {}, IMAGES)


def example_of(network: nn.Module, inputs: Any) -> Example:
    """Return an example of two different images from a network's input.

    Raise SeProbeError if the input has no tensor with images.

    Args:
        inputs: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments (of the one
            positional argument where the network takes no such keywords). Images are on the first axis.
    """
    given = _arguments(network, inputs)
    tensors = [item for item in tensors_in(given) if item.dim()]
    if not tensors:
        raise SeProbeError(
            f"inputs is a {type(inputs).__name__} without a tensor; expected what the network is called with: a "
            "tensor, a tuple of arguments or a dict of keyword arguments, with images on the first axis."
        )
    example = Example(*given, images=tensors[0].shape[0])
    draw = torch.Generator().manual_seed(0)

    def two(tensor: torch.Tensor) -> torch.Tensor:
        first = tensor[:1].detach()
        if len(tensor) > 1 and not torch.equal(first, tensor[1:2]):
            return tensor[:2].detach().clone()
        return torch.cat([first, _other(first, draw)])

    return example.map(two, IMAGES)


def _arguments(network: nn.Module, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        keywords = {str(name): value for name, value in inputs.items()}
        try:
            inspect.signature(network.forward).bind(**keywords)
        except TypeError:
            return (inputs,), {}
        return (), keywords
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}


def _other(image: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Return another image of the same kind: half the contrast plus noise, or integers from the same range."""
    if image.is_meta or image.dtype == torch.bool:
        return image.clone()
    if image.is_floating_point() or image.is_complex():
        spread = float(image.abs().float().mean()) or 1.0
        noise = torch.randn(image.shape, generator=draw).to(image.device)
        return (image * 0.5 + 0.5 * spread * noise).to(image.dtype)
    low, high = (int(image.min()), int(image.max())) if image.numel() else (0, 0)
    low = low if high > low else 0
    return torch.randint(low, high + 1, image.shape, generator=draw).to(image)


def noise_for(network: nn.Module, size: Sequence[int], images: int = IMAGES, seed: int = 0) -> torch.Tensor:
    """Return noise on a network's device and in its dtype, `(images, *size)`."""
    return torch.randn(images, *size, generator=torch.Generator().manual_seed(seed)).to(reference_tensor(network))


def reference_tensor(network: nn.Module) -> torch.Tensor:
    """Return a tensor with the device and the dtype that a network's input should have."""
    parameter = next((item for item in network.parameters() if item.is_floating_point()), torch.empty(0))
    return parameter.detach()


Watched = TypeVar("Watched")


def unwrap(network: nn.Module) -> nn.Module:
    """Return the plain network inside DataParallel, DistributedDataParallel and torch.compile wrappers.

    Raise SeProbeError if the network is scripted, exported or compiled in place, so that modules cannot be watched.
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
                f"{what} is a scripted {module.original_name}, in which modules cannot be distinguished; pass the "
                "Python network that it was scripted from."
            )
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise SeProbeError(
                f"{what} was compiled in place by .compile(), which hides its products; build the network again and "
                "pass it before it is compiled."
            )


def default_input_size(network: nn.Module) -> tuple[int, ...]:
    """Return `(3, H, W)` from the network's own timm configuration, else (3, 224, 224)."""
    config = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None) or {}
    return tuple(config.get("input_size", (3, 224, 224)))


@contextmanager
def left_alone(network: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Put a network in evaluation mode; on exit restore its modules' attributes and the random state."""
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

    Raise SeProbeError if the pass failed.
    """
    batch = noise_for(network, size, images)
    return watched_pass(network, Example((batch,), {}, images), lambda: watch(network, batch))


def watched_pass(
    network: nn.Module, example: Example, watch: Callable[[], Watched], seed: int | None = None
) -> Watched:
    """Call `watch`, which makes one pass over an example, with the network in evaluation mode.

    Raise SeProbeError if the pass failed.
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
