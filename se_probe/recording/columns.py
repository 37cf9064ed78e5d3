"""All signals of all sites side by side: one row an image, one column a channel of a branch of a signal of a site."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Block:
    """The columns of one signal of one site; `shape` is `(channel,)`, or `(branch, channel)` where branches compete."""

    signal: str
    site: str
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return math.prod(self.shape)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of `shape`."""
        return ("channel",) if len(self.shape) == 1 else ("branch", "channel")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {"signal": self.signal, "site": self.site, "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Block:
        """Read `to_dict` back."""
        return cls(facts["signal"], facts["site"], tuple(facts["shape"]))


def join(signals: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return signals as `(image, column)`, on their device, without loss: float32 at least."""
    return torch.cat([_at_least_float32(values.flatten(1)) for values in signals], dim=1)


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def split(columns: NDArray[Scalar], blocks: Sequence[Block]) -> dict[Block, NDArray[Scalar]]:
    """Return each block's part of `(row, column)`, as `(row, channel)` or `(row, branch, channel)`."""
    stops = np.cumsum([block.width for block in blocks])[:-1]
    parts = np.split(columns, stops, axis=1)
    return {block: part.reshape(len(columns), *block.shape) for block, part in zip(blocks, parts, strict=True)}


def width(blocks: Sequence[Block]) -> int:
    """Return the number of columns of all blocks."""
    return sum(block.width for block in blocks)
