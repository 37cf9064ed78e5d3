"""Read the derivative of an outcome with respect to every gate in one backward pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from se_probe.errors import SeProbeError
from se_probe.gates.hooks import another_way, is_reading, pop_mode, push_mode
from se_probe.gates.passes import PassFollower, SiteProduct, joined
from se_probe.gates.site import GateSite

# The autograd node of each product; its gradients have the order of the operands.
_NODES = {"mul": "MulBackward0", "addcmul": "AddcmulBackward0", "bmm": "BmmBackward0", "baddbmm": "BaddbmmBackward0"}


class GateGradients(PassFollower):
    """Read the derivative of an outcome with respect to every gate, at the multiplication by the gate.

    Other uses of the gate's tensor do not count. No gradients of weights are computed, and `.grad` is left unchanged.

    Args:
        network: the network, in evaluation mode, not wrapped.
        sites: the sites.

    Example:
        >>> with GateGradients(network, sites) as follower:
        ...     output, values = follower.run(batch, lambda output: output[:, 3])
        ...     follower.gradients(values)["SE_5_2"]  # (image, channel)
    """

    def __init__(self, network: nn.Module, sites: Sequence[GateSite]) -> None:
        super().__init__(network, sites)
        self._gates: dict[str, dict[int, torch.Tensor]] = defaultdict(dict)
        self._found: dict[str, dict[int, torch.Tensor]] = defaultdict(dict)
        self._edges: dict[tuple[Any, int], Any] = {}
        self._made: list[tuple[SiteProduct, torch.Tensor]] = []

    @property
    def gates(self) -> dict[str, torch.Tensor]:
        """Site name → gates of the last pass, `(image, channel)` or `(image, branch, channel)`."""
        return {name: joined(parts) for name, parts in self._gates.items()}

    def run(
        self, batch: torch.Tensor, outcome: Callable[[Any], torch.Tensor], forward: Callable[[Any], Any] | None = None
    ) -> tuple[Any, torch.Tensor]:
        """Run the network with gradients enabled, and return its output and the outcome of each image.

        Args:
            batch: the network's input, `(image, …)`.
            outcome: maps the output to `(image,)`.
            forward: calls the network; the network itself by default.

        Raises:
            SeProbeError: the batch has no floating-point dtype, or the outcome is not one number per image.
        """
        if not batch.is_floating_point():
            raise SeProbeError(f"the batch has dtype {batch.dtype}, which carries no gradient; pass floating point.")
        with torch.inference_mode(False), torch.enable_grad():
            images = batch.clone() if batch.is_inference() else batch.detach()
            output = (forward or self.network)(images.requires_grad_())
            values = outcome(output)
        if values.shape != (len(batch),):
            raise SeProbeError(f"the outcome has shape {tuple(values.shape)}; expected ({len(batch)},), one per image.")
        return output, values

    def gradients(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the derivative of each image's outcome with respect to its gates.

        Args:
            values: the outcome of each image in the last pass, `(image,)`.

        Returns:
            Site name → `(image, channel)` or `(image, branch, channel)`; zeros where the outcome does not depend on
            the gate.

        Raises:
            SeProbeError: the outcome carries no gradient.
        """
        if not values.requires_grad:
            raise SeProbeError(
                "the outcome carries no gradient: the network ran without gradients, or cuts them off (detach, "
                "no_grad), so its gates have no first-order effect. Use intervene to replace them instead."
            )
        self._found.clear()
        try:
            # The backward pass ends at the gates.
            with torch.inference_mode(False):
                torch.autograd.grad(values, list(self._edges.values()), torch.ones_like(values), allow_unused=True)
        except RuntimeError as error:
            if "inplace operation" not in str(error):
                raise
            raise SeProbeError(
                "the network overwrites values that its gradient needs, so its gates have no first-order effect; "
                "use intervene to replace them instead."
            ) from error
        gradients = {}
        for name, gates in self._gates.items():
            zeros = {part: torch.zeros_like(gate) for part, gate in gates.items()}
            gradients[name] = joined(zeros | self._found[name])
        return gradients

    def _begin_pass(self, batch: Any) -> None:
        """Discard the last pass, and watch for the end of each product."""
        if self.elsewhere:
            raise SeProbeError(
                "effects need whole forward passes, but only a part of the network was called; call network(...)."
            )
        for values in (self._gates, self._found, self._edges, self._made):
            values.clear()
        push_mode(self, _AfterProducts(self))

    def _leave_pass(self) -> None:
        pop_mode(self)
        self._settle()

    def _before(self, item: SiteProduct, original: tuple[Any, ...], args: tuple[Any, ...]) -> None:
        """Keep the gate, and the edge at which the backward pass may end."""
        factor: torch.Tensor = args[item.product.operand]
        self._gates[item.site][item.part] = item.product.read(args, item.point.product_shape).clone()
        if args[item.product.operand] is not original[item.product.operand]:
            raise another_way(f"at {item.site} the gate is replaced by an intervention, which has no gradient")
        if factor.requires_grad:
            edge = torch.autograd.graph.get_gradient_edge(factor)
            self._edges[edge.node, edge.output_nr] = edge
        elif torch.is_grad_enabled():
            raise SeProbeError(
                f"the gate of {item.site} is cut off from its input (detach or no_grad in the network), so it carries "
                "no gradient; leave the site out, or use intervene to replace its gates."
            )

    def _after(self, item: SiteProduct, output: torch.Tensor) -> None:
        """Keep the output of a product until autograd has recorded it."""
        self._made.append((item, output))

    def _settle(self) -> None:
        made, self._made = self._made, []
        for item, output in made:
            node = output.grad_fn
            if node is None:
                continue
            if node.name() != _NODES[item.product.operation.name]:
                raise SeProbeError(
                    f"the product of {item.site} is written into a part of another tensor ({node.name()}), where its "
                    "gradient cannot be separated from the rest; multiply out of place, or leave the site out."
                )
            node.register_hook(self._hook(item))

    def _hook(self, item: SiteProduct) -> Callable[[Any, Any], None]:
        def read(gradients: Sequence[torch.Tensor | None], _outputs: Any) -> None:
            gradient = gradients[item.product.operand]
            if gradient is not None:
                self._found[item.site][item.part] = item.product.summed(gradient, item.point.product_shape)

        return read


class _AfterProducts(TorchDispatchMode):
    """Calls `_settle` before each operation, when autograd has recorded the earlier products."""

    def __init__(self, follower: GateGradients) -> None:
        super().__init__()
        self._follower = follower

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not is_reading():
            self._follower._settle()
        return func(*args, **(kwargs or {}))
