"""Replace gates while a network runs: another factor in the multiplication, by hooks that are removed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.chosen import choose_sites
from se_probe.gates.passes import PassFollower, SiteProduct
from se_probe.gates.replacements import GateContext, Replacement
from se_probe.gates.site import GateSite


def intervene(
    network: nn.Module,
    replacements: Mapping[GateSite, Replacement] | Mapping[str, Replacement],
    *,
    input_size: Sequence[int] | None = None,
    inputs: Any = None,
) -> Intervention:
    """Replace gates of a network for as long as a `with` block lasts.

    Args:
        network: the network, in evaluation mode; as for `GateRecorder`, wrappers are refused.
        replacements: site → what stands in the place of its gate. A site is what `find_gates` returned for this
            network, or its name, for which one dry pass looks.
        input_size: size of the dry pass's input, as for `find_gates`.
        inputs: an example of the network's input for the dry pass, as for `find_gates`.

    Returns:
        A context manager; its `labels` are the labels of the images of the next batch.

    Example:
        >>> with intervene(network, {"SE_5_2": Identity(), "SE_5_3": Identity()}):
        ...     network(batch)

    The factor is replaced at the product, so that whatever else the network computes from the gate stays. Gates of
    later sites are computed from the changed features. Of several interventions on one site, the first one entered
    acts first. Nothing of the network is changed but hooks, which come off at the end of the block or on any exception.

    Every pass must make the products of the dry pass; a pass that does not is refused. Passes may be made by any entry
    point that reaches all sites, such as `network.forward_features`, in the thread that entered the block; those of
    other threads are not changed. Gradients are off inside the block, since they would be those of the untouched
    network.

    Raises:
        SeProbeError: the network cannot be hooked, has no such site, or a replacement does not fit its site; at the end
            of the block, the gates were not changed in it.

    Source: interventions on a causal graph, Pearl, Causality (2009), section 3.2; ablation by the mean: Nanda et
    al. and others, "mean ablation".
    """
    sites = choose_sites(network, replacements, input_size=input_size, inputs=inputs)
    return Intervention(network, dict(zip(sites, replacements.values(), strict=True)))


class Intervention(PassFollower):
    """Replaces gates between `__enter__` and `__exit__`; see `intervene`.

    Attributes:
        labels: label of each image of the next batch, for replacements that differ by class or image.
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

    def begin_pass(self, batch: Any) -> None:
        """Count the pass; gradients would be those of the untouched network."""
        self._forward += 1

    def change(self, item: SiteProduct, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments of a product with the replacement's values in place of the gate."""
        site, replacement = self._replacements[item.site]
        gate = item.product.read(args, item.point.product_shape)
        branched = gate if gate.dim() == 3 else gate[:, None]
        branches = slice(None) if len(item.point.products) == 1 else slice(item.part, item.part + 1)
        context = GateContext(site, branches, self._forward, self.labels)
        return replacement.arguments(item.product, args, branched, context)
