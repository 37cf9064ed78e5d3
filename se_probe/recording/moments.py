"""Streaming class-conditional moments: count, mean and sum of squared deviations, in float64.

Moments merge by the pairwise update of Chan, Golub and LeVeque (Algorithms for Computing the Sample Variance, The
American Statistician 37, 1983).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray

Float = NDArray[np.float64]
_distributed: Any = torch.distributed  # annotated only in part


@dataclass(frozen=True)
class Moments:
    """Moments of `count` vectors: their mean and their sum of squared deviations, each of shape `(column,)`."""

    count: int
    mean: Float
    m2: Float

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Moments:
        """Return the moments of the rows of `values`, `(row, column)`, one row at least."""
        rows = values.astype(np.float64)
        # Relative to the first row, so that a constant gate has its exact mean and no deviation.
        mean = rows[0] + (rows - rows[0]).mean(axis=0)
        return cls(len(rows), mean, np.square(rows - mean).sum(axis=0))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows together (Chan et al. 1983, equation 2.1)."""
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        m2 = self.m2 + other.m2 + np.square(delta) * (self.count * other.count / count)
        return Moments(count, mean, m2)


class ClassMoments:
    """Moments of each class seen so far, in the order in which the classes were first seen."""

    def __init__(self) -> None:
        self.by_class: dict[str, Moments] = {}

    def update(self, classes: Sequence[str], values: NDArray[np.floating]) -> None:
        """Add the rows of `values`, `(row, column)`, each to its class."""
        names = np.asarray(classes, dtype=object)
        for name in dict.fromkeys(classes):
            self.add(name, Moments.of(values[names == name]))

    def add(self, name: str, moments: Moments) -> None:
        """Add moments to those of a class."""
        before = self.by_class.get(name)
        self.by_class[name] = moments if before is None else before.merge(moments)

    def all_reduce(self, names: Sequence[str], columns: int, group: Any = None) -> ClassMoments:
        """Return the moments over the rows of all processes of a group of torch.distributed, the same in each process.

        Ranks are merged in order, so that all processes round alike. All call this with the same arguments.

        Args:
            names: all classes that any process may have seen, in one order.
            columns: length of a row.
            group: the process group, gloo or nccl; the default group by default.
        """
        device = "cuda" if _distributed.get_backend(group) == "nccl" else "cpu"
        whole = ClassMoments()
        for rank in range(_distributed.get_world_size(group)):
            packed = torch.from_numpy(self._packed(names, columns)).to(device)
            source = rank if group is None else _distributed.get_global_rank(group, rank)
            _distributed.broadcast(packed, source, group=group)
            for name, row in zip(names, packed.cpu().numpy(), strict=True):
                if row[0]:
                    whole.add(name, Moments(int(row[0]), row[1 : columns + 1], row[columns + 1 :]))
        return whole

    def _packed(self, names: Sequence[str], columns: int) -> Float:
        """Return count, mean and m2 of each class in one row; zeros for a class that was not seen."""
        packed = np.zeros((len(names), 1 + 2 * columns))
        for row, name in zip(packed, names, strict=True):
            if (moments := self.by_class.get(name)) is not None:
                row[:] = [moments.count, *moments.mean, *moments.m2]
        return packed
