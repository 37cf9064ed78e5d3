"""Inputs of dry passes: noise or an example of the network's input, and variations of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from se_probe.errors import SeProbeError
from se_probe.trace.watching import tensors_in

# Images of a dry pass.
IMAGES = 2


@dataclass(frozen=True)
class Example:
    """The arguments of one call of a network.

    Attributes:
        args, kwargs: positional and keyword arguments.
        images: number of images, on the first axis of every tensor whose first axis has this length.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    images: int

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

    Args:
        network: the network.
        inputs: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments (of the one
            positional argument where the network takes no such keywords). Images are on the first axis.

    Raises:
        SeProbeError: the input has no tensor with images.
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
    """Return noise on a network's device and in its dtype, `(images, *size)`.

    Args:
        network: the network.
        size: size of its input without the image axis.
        images: number of images.
        seed: determines the noise.
    """
    return torch.randn(images, *size, generator=torch.Generator().manual_seed(seed)).to(reference_tensor(network))


def reference_tensor(network: nn.Module) -> torch.Tensor:
    """Return a tensor with the device and the dtype that a network's input should have."""
    parameter = next((item for item in network.parameters() if item.is_floating_point()), torch.empty(0))
    return parameter.detach()
