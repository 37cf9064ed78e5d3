"""Replacements of a gate: neutral, constant, other images' gates, one branch alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from se_probe.errors import SeProbeError
from se_probe.gates.site import GateSite
from se_probe.trace.operation import Product


@dataclass(frozen=True)
class GateContext:
    """The site of a gate that is replaced, and the forward pass.

    Attributes:
        site: the gate's site.
        branches: which of the site's branches are at hand; all of them, or one where branches are multiplied one
            by one.
        forward: how many forward passes came before this one since the intervention began.
        labels: label of each image of the batch, None where none were given.
    """

    site: GateSite
    branches: slice
    forward: int
    labels: Sequence[str] | None


class Replacement:
    """A replacement of a gate."""

    def check(self, site: GateSite) -> None:
        """Raise SeProbeError where the site's gate cannot be replaced so; by default any gate can."""

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return what the network multiplies by.

        Args:
            gate: the network's own gate, `(image, branch, channel)`; one branch where none compete.
            context: where and when it is made.

        Returns:
            A tensor on the gate's device that broadcasts to its shape.
        """
        raise NotImplementedError

    def arguments(
        self, product: Product, args: tuple[Any, ...], gate: torch.Tensor, context: GateContext
    ) -> tuple[Any, ...]:
        """Return the arguments of a multiplication by the gate with the `values` in place of the factor's."""
        return product.replace(args, self.values(gate, context).expand(gate.shape))


class Identity(Replacement):
    """The neutral gate: 1, and 1/M where M branches compete, as if there were no gate."""

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return one number."""
        return gate.new_full((), 1 / context.site.branches)


@dataclass(frozen=True)
class Scale(Replacement):
    """The gate times a factor."""

    factor: float

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the scaled gate."""
        return gate * self.factor


@dataclass(frozen=True)
class Branch(Replacement):
    """One branch alone: its gate is 1, that of every other branch 0; branches count from 0."""

    branch: int

    def check(self, site: GateSite) -> None:
        """Raise SeProbeError where the site has no such branch, or no branches at all."""
        if site.branches == 1 or not 0 <= self.branch < site.branches:
            has = f"its branches are 0 to {site.branches - 1}" if site.branches > 1 else "it has no branches"
            raise SeProbeError(
                f"branch {self.branch} alone was asked for at {site.name}, but {has}; choose another branch or site."
            )

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return 1 for the branch and 0 for the others."""
        chosen = torch.arange(context.site.branches, device=gate.device) == self.branch
        return chosen[context.branches, None].to(gate.dtype)


@dataclass(frozen=True)
class Shuffle(Replacement):
    """The gates of another image of the same batch: what depends on the image is destroyed, the distribution kept.

    The same permutation for all sites that share the replacement, another one for each forward pass. Images of one
    class in a batch swap gates of that class: mix the batch, where class information is to go too.
    """

    seed: int = 0

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the gates of permuted images."""
        generator = torch.Generator().manual_seed(self.seed + context.forward)
        order = torch.randperm(len(gate), generator=generator)
        return gate[order.to(gate.device, non_blocking=True)]


class PerLabel(Replacement):
    """A gate for each label: labels are classes (the mean gate of each class) or images (another image's gates).

    The intervention is told the labels of each batch: `intervention.labels = [...]`.

    Args:
        values: `(label, channel)` or `(label, branch, channel)`.
        labels: what each row is for.
    """

    def __init__(self, values: ArrayLike, labels: Sequence[str]) -> None:
        self._values = torch.as_tensor(np.asarray(values))
        self._row = {label: row for row, label in enumerate(labels)}
        self._on: dict[torch.device, torch.Tensor] = {}

    def check(self, site: GateSite) -> None:
        """Raise SeProbeError where the values are not of the gate's shape."""
        shape = (site.branches, site.channels) if site.branches > 1 else (site.channels,)
        found = tuple(self._values.shape[1:])
        if found != shape or len(self._values) != len(self._row):
            raise SeProbeError(
                f"{site.name} has gates of shape {shape}, and gates of shape {found} were given for it "
                f"({len(self._values)} of them for {len(self._row)} labels); pass those of this very site."
            )

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the gates of the batch's labels."""
        if context.labels is None:
            raise SeProbeError(
                f"the gates of {context.site.name} depend on labels, and the batch has none; set the intervention's "
                "`labels` before the forward pass."
            )
        missing = next((label for label in context.labels if label not in self._row), None)
        if missing is not None:
            raise SeProbeError(
                f"no gates were given for the label {missing!r} at {context.site.name}; expected one of "
                f"{len(self._row)}, such as {next(iter(self._row))!r}."
            )
        return self.rows(gate, context, [self._row[label] for label in context.labels])

    def rows(self, gate: torch.Tensor, context: GateContext, rows: Sequence[int]) -> torch.Tensor:
        """Return some rows as `(row, branch, channel)`, on the gate's device and in its dtype."""
        if gate.device not in self._on:
            self._on[gate.device] = self._values.to(gate.device)
        chosen = self._on[gate.device][torch.tensor(rows).to(gate.device, non_blocking=True)]
        return chosen.to(gate.dtype).reshape(len(rows), context.site.branches, -1)[:, context.branches]


class Constant(PerLabel):
    """One gate for all images, such as the mean of a recording.

    Args:
        values: `(channel,)` or `(branch, channel)`.
    """

    def __init__(self, values: ArrayLike) -> None:
        super().__init__(np.asarray(values)[None], [""])

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the constant."""
        return self.rows(gate, context, [0])
