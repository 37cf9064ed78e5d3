"""Replace gates while a network runs: another factor in the multiplication, by hooks that are removed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.discovery import choose_sites
from se_probe.gates.passes import PassFollower, SiteProduct
from se_probe.gates.site import GateSite
from se_probe.trace.operation import Product


@dataclass(frozen=True)
class GateContext:
    """Where and when a gate is replaced.

    Attributes:
        site: the gate's site.
        branches: the branches of this product: all, or one if branches are multiplied one by one.
        forward: number of forward passes before this one in the intervention.
        labels: label of each image of the batch, None if none were given.
    """

    site: GateSite
    branches: slice
    forward: int
    labels: Sequence[str] | None


class Replacement:
    """A replacement of a gate."""

    def check(self, site: GateSite) -> None:
        """Raise SeProbeError if it does not fit the site; by default it fits every site."""

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the values by which the network multiplies.

        Args:
            gate: the network's own gate, `(image, branch, channel)`, with one branch if none compete.
            context: its site and pass.

        Returns:
            A tensor on the gate's device that broadcasts to its shape.
        """
        raise NotImplementedError

    def arguments(
        self, product: Product, args: tuple[Any, ...], gate: torch.Tensor, context: GateContext
    ) -> tuple[Any, ...]:
        """Return the arguments of a multiplication with `values` instead of the gate.

        Args:
            product: the multiplication.
            args: its arguments.
            gate: as for `values`.
            context: as for `values`.
        """
        return product.replace(args, self.values(gate, context).expand(gate.shape))


class Identity(Replacement):
    """The neutral gate, as if there were none: 1, or 1/M where M branches compete."""

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return 1 / M."""
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
    """A single branch, counted from 0: its gate is 1, that of every other branch 0."""

    branch: int

    def check(self, site: GateSite) -> None:
        """Raise SeProbeError if the site has no such branch."""
        if site.branches == 1 or not 0 <= self.branch < site.branches:
            has = f"its branches are 0 to {site.branches - 1}" if site.branches > 1 else "it has no branches"
            raise SeProbeError(
                f"branch {self.branch} alone was requested at {site.name}, but {has}; choose another branch or site."
            )

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return 1 for the branch and 0 for the others."""
        chosen = torch.arange(context.site.branches, device=gate.device) == self.branch
        return chosen[context.branches, None].to(gate.dtype)


@dataclass(frozen=True)
class Shuffle(Replacement):
    """The gates of another image of the same batch: their distribution is kept, their dependence on the image is not.

    Sites that share the replacement get the same permutation; every forward pass gets another one. In a batch of one
    class, gates stay within the class: mix the batch to remove class information too.
    """

    seed: int = 0

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the gates of permuted images."""
        generator = torch.Generator().manual_seed(self.seed + context.forward)
        order = torch.randperm(len(gate), generator=generator)
        return gate[order.to(gate.device, non_blocking=True)]


def tensor_of(values: ArrayLike | torch.Tensor) -> torch.Tensor:
    """Return a copy of values as a tensor without gradient; a tensor keeps its device and dtype."""
    return values.detach().clone() if isinstance(values, torch.Tensor) else torch.as_tensor(np.array(values))


class PerLabel(Replacement):
    """A gate for each label: labels are classes (the mean gate of each class) or images (another image's gates).

    Set the labels of each batch before its pass: `intervention.labels = [...]`.

    Args:
        values: `(label, channel)` or `(label, branch, channel)`.
        labels: label of each row.
    """

    def __init__(self, values: ArrayLike | torch.Tensor, labels: Sequence[str]) -> None:
        self._values = tensor_of(values)
        self._row = {label: row for row, label in enumerate(labels)}
        self._on: dict[torch.device, torch.Tensor] = {}

    def check(self, site: GateSite) -> None:
        """Raise SeProbeError if the values do not have the gate's shape."""
        shape = (site.branches, site.channels) if site.branches > 1 else (site.channels,)
        found = tuple(self._values.shape[1:])
        if found != shape or len(self._values) != len(self._row):
            raise SeProbeError(
                f"{site.name} has gates of shape {shape}, and gates of shape {found} were given for it "
                f"({len(self._values)} of them for {len(self._row)} labels); pass those of this site."
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
        """Return rows of the values as `(row, branch, channel)`, on the gate's device and in its dtype.

        Args:
            gate: as for `values`.
            context: as for `values`.
            rows: their positions.
        """
        if gate.device not in self._on:
            self._on[gate.device] = self._values.to(gate.device)
        chosen = self._on[gate.device][torch.tensor(rows).to(gate.device, non_blocking=True)]
        return chosen.to(gate.dtype).reshape(len(rows), context.site.branches, -1)[:, context.branches]


class Constant(PerLabel):
    """One gate for all images, such as the mean of a recording.

    Args:
        values: `(channel,)` or `(branch, channel)`.
    """

    def __init__(self, values: ArrayLike | torch.Tensor) -> None:
        super().__init__(tensor_of(values)[None], [""])

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the constant."""
        return self.rows(gate, context, [0])


def intervene(
    network: nn.Module,
    replacements: Mapping[GateSite, Replacement] | Mapping[str, Replacement],
    *,
    input_size: Sequence[int] | None = None,
    inputs: Any = None,
) -> Intervention:
    """Replace gates of a network inside a `with` block.

    Args:
        network: the network, in evaluation mode; as for `GateRecorder`, wrappers are refused.
        replacements: site or its name → replacement of its gate.
        input_size: size of the dry pass's input, as for `find_gates`.
        inputs: an example of the network's input for the dry pass, as for `find_gates`.

    Returns:
        A context manager; set its `labels` to those of the next batch.

    Example:
        >>> with intervene(network, {"SE_5_2": Identity(), "SE_5_3": Identity()}):
        ...     network(batch)

    The factor is replaced at the multiplication: other uses of the gate are unchanged, and gates of later sites are
    computed from the changed features. If several interventions replace one site, the first one entered acts first.
    Only hooks are added to the network; they are removed at the end of the block, also after an error.

    As with a `GateRecorder`, passes may use any entry point, in the thread that entered the block. Gradients are
    disabled inside the block, because they would be those of the untouched network.

    Raises:
        SeProbeError: the network cannot be hooked, has no such site, a replacement does not fit its site, or the gates
            were not replaced in the block.

    Source: interventions on a causal graph, Pearl, Causality (2009), section 3.2; ablation by the mean: Nanda et
    al. and others, "mean ablation".
    """
    sites = choose_sites(network, replacements, input_size=input_size, inputs=inputs)
    return Intervention(network, dict(zip(sites, replacements.values(), strict=True)))


class Intervention(PassFollower):
    """Replaces gates between `__enter__` and `__exit__`; see `intervene`.

    Attributes:
        labels: label of each image of the next batch, for replacements by class or image.
    """

    def __init__(self, network: nn.Module, replacements: Mapping[GateSite, Replacement]) -> None:
        super().__init__(network, list(replacements))
        self.labels: Sequence[str] | None = None
        self._replacements = {site.name: (site, replacement) for site, replacement in replacements.items()}
        for site, replacement in replacements.items():
            replacement.check(site)
        self._forward = -1
        self._gradients = True

    def __enter__(self) -> Self:
        super().__enter__()
        self._forward = -1
        self._gradients = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *rest: Any) -> None:
        super().__exit__(kind, *rest)
        torch.set_grad_enabled(self._gradients)
        missed = list(self.points) if self._forward < 0 else self.missed
        if kind is None and missed:
            raise SeProbeError(
                f"the block of this intervention ends, and no pass in it has reached {', '.join(missed)}: their gates "
                "were not replaced. Call network(...) inside the block, in the thread that entered it."
            )

    def _begin_pass(self, batch: Any) -> None:
        self._forward += 1

    def _change(self, item: SiteProduct, args: tuple[Any, ...]) -> tuple[Any, ...]:
        site, replacement = self._replacements[item.site]
        gate = item.product.read(args, item.point.product_shape)
        branched = gate if gate.dim() == 3 else gate[:, None]
        branches = slice(None) if len(item.point.products) == 1 else slice(item.part, item.part + 1)
        context = GateContext(site, branches, self._forward, self.labels)
        return replacement.arguments(item.product, args, branched, context)
