"""Forward passes of fewer images at a time where the device's memory does not hold a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch

from se_probe.errors import SeProbeError

Passed = TypeVar("Passed")
_MESSAGES = ("out of memory", "can't allocate memory")


class OutOfMemoryRetry(Generic[Passed]):
    """Runs batches, whole as long as memory suffices; after that never more images at once than went through.

    Args:
        forward: starts the forward pass of some images and their output units.
        say: is given a line whenever the number of images is halved.
    """

    def __init__(self, forward: Callable[[torch.Tensor, Sequence[int]], Passed], say: Callable[[str], None]) -> None:
        self._forward = forward
        self._say = say
        self._most: int | None = None

    def __call__(self, images: torch.Tensor, units: Sequence[int]) -> list[Passed]:
        """Return the passes of a batch, in order.

        Raises:
            SeProbeError: memory does not hold the pass of a single image.
        """
        passed: list[Passed] = []
        first = 0
        while first < len(images):
            last = first + min(self._most or len(images), len(images))
            try:
                passed.append(self._forward(images[first:last], units[first:last]))
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve(len(images[first:last]), error)
            else:
                first = last
        return passed

    def _halve(self, images: int, error: RuntimeError) -> None:
        if images == 1:
            raise SeProbeError(
                "the device's memory does not hold the forward pass of a single image; choose a smaller network or "
                "input, or --device cpu."
            ) from error
        self._most = images // 2
        self._say(f"memory    {images} images at once do not fit; going on with {self._most}")


def _is_out_of_memory(error: RuntimeError) -> bool:
    # Only CUDA has a class of its own for it; the CPU and MPS say it in words.
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(text in str(error) for text in _MESSAGES)
