"""What each channel's gate does to the answer, to first order: all channels of all sites from one backward pass.

The effect of replacing the gate s of a channel by a reference r is estimated by ∂y/∂s · (r − s), the first term of the
Taylor series of the outcome y in s (attribution patching; Nanda, "Attribution Patching", 2023; its failures: Kramár et
al., "AtP*", arXiv 2403.00745, 2024). `se_probe.gates.exact_effects` replaces gates one by one instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from se_probe.errors import SeProbeError
from se_probe.gates.chosen import choose_sites
from se_probe.gates.hooks import is_reading, pop_mode, push_mode
from se_probe.gates.passes import PassFollower, SiteProduct
from se_probe.gates.refusals import another_way
from se_probe.gates.site import GateSite

Outcome = str | tuple[int, int] | Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
Reference = str | float | Mapping[str, ArrayLike]
OUTCOMES: Mapping[str, str] = {
    "label": "the logit of the image's own class",
    "predicted": "the logit of the class that the network predicts",
    "log-probability": "the log-probability of the image's own class",
}
# The autograd node of each product, whose gradient by an operand has the operand's position.
_NODES = {"mul": "MulBackward0", "addcmul": "AddcmulBackward0", "bmm": "BmmBackward0", "baddbmm": "BaddbmmBackward0"}


@dataclass(frozen=True)
class GateEffects:
    """First-order effects of every channel's gate on the outcome of each image of a batch.

    Attributes:
        effects: site name → `(image, channel)` or `(image, branch, channel)`, in units of the outcome: the change of
            the outcome if the gate of that channel were the reference.
        gates: site name → the gates s, of the same shapes.
        gradients: site name → ∂y/∂s, of the same shapes.
        reference: site name → r, `(channel,)` or `(branch, channel)`.
        outcome: y of each image, `(image,)`.
        output: what the network returned.
    """

    effects: dict[str, torch.Tensor] = field(repr=False)
    gates: dict[str, torch.Tensor] = field(repr=False)
    gradients: dict[str, torch.Tensor] = field(repr=False)
    reference: dict[str, torch.Tensor] = field(repr=False)
    outcome: torch.Tensor
    output: Any = field(repr=False)


def gate_effects(
    network: nn.Module,
    batch: torch.Tensor,
    *,
    labels: Sequence[int] | torch.Tensor | None = None,
    outcome: Outcome = "label",
    reference: Reference = "mean",
    sites: Iterable[GateSite | str] | None = None,
) -> GateEffects:
    """Return what replacing each channel's gate would do to the outcome, from one forward and one backward pass.

    Args:
        network: the network, in evaluation mode, as for `GateRecorder`. It is left as it was: weights, `.grad`, hooks.
        batch: its input, `(image, …)`, of floating point.
        labels: output unit of each image's class.
        outcome: y, of each image: "label" (the logit of its class), "predicted" (that of the class which the network
            predicts), "log-probability" (of its class), two units (a, b) for the difference of their logits, or a
            function of output and labels that returns `(image,)`.
        reference: r: "mean" (of the batch: the mean of the labels' means, or of the images without labels), a number
            such as 0 or 1, or values by site, such as the means of a recording: `(channel,)` or `(branch, channel)`.
        sites: what `find_gates` returned for the network, some of them, or names; all by default.

    The derivative is that of the whole network: a gate that is replaced changes the features, and with them the gates
    of later sites, as in an exact replacement. A gate that multiplies at several places is a site at each of them, and
    is replaced there alone. Effects of several channels at once do not add up but to first order.

    Raises:
        SeProbeError: the network cannot be followed, or does not let gradients through; the outcome has no value for
            some image, or a reference does not fit its site.

    Source: Nanda (2023), "Attribution Patching"; Molchanov et al. (2017), "Pruning Convolutional Neural Networks",
    equation 7, for gates that are 1.
    """
    chosen = choose_sites(network, sites, input_size=tuple(batch.shape[1:]))
    units = None if labels is None else torch.as_tensor(labels, device=batch.device)
    with GateGradients(network, chosen) as follower:
        output, values = follower.run(batch, lambda given: _checked_outcome(outcome, given, units))
        gates, gradients = follower.gates, follower.gradients(values)
    references = _references(reference, chosen, gates, units)
    effects = {name: gradients[name] * (references[name] - gate) for name, gate in gates.items()}
    return GateEffects(effects, gates, gradients, references, values.detach(), _detached(output))


def _checked_outcome(outcome: Outcome, output: Any, labels: torch.Tensor | None) -> torch.Tensor:
    """Return the outcome, after a look at the labels and units, which waits for the device."""
    if not callable(outcome):
        logits = logits_of(output)
        units = torch.tensor(outcome) if isinstance(outcome, tuple) else labels
        if labels is not None and len(labels) != len(logits):
            raise SeProbeError(f"{len(labels)} labels were given for {len(logits)} images; expected one for each.")
        wrong = [] if units is None else units[(units < 0) | (units >= logits.shape[1])].tolist()
        if wrong:
            raise SeProbeError(f"{wrong[0]} is no output unit of the network; expected 0 to {logits.shape[1] - 1}.")
    return outcome_of(outcome, output, labels)


def outcome_of(outcome: Outcome, output: Any, labels: torch.Tensor | None) -> torch.Tensor:
    """Return the outcome of each image, `(image,)`, without waiting for the device; see `gate_effects`.

    Raises:
        SeProbeError: the output is no vector of logits, or there are no labels where they are needed.
    """
    if callable(outcome):
        values = outcome(output, labels)
        if not isinstance(values, torch.Tensor) or values.dim() != 1:
            found = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
            raise SeProbeError(f"the outcome is {found}; expected a number for each image, a tensor of shape (image,).")
        return values
    logits = logits_of(output)
    if isinstance(outcome, tuple):
        return logits[:, outcome[0]] - logits[:, outcome[1]]
    if outcome not in OUTCOMES:
        raise SeProbeError(
            f"the outcome {outcome!r} was asked for; expected one of {', '.join(OUTCOMES)}, two units or a function."
        )
    if outcome == "predicted":
        return logits.max(1).values
    if labels is None:
        raise SeProbeError(f"the outcome {outcome!r} needs labels; pass labels=[…], an output unit for each image.")
    values = logits.log_softmax(1) if outcome == "log-probability" else logits
    return values.gather(1, labels.long()[:, None])[:, 0]


def logits_of(output: Any) -> torch.Tensor:
    """Return a network's output where it is logits, `(image, class)`; raise SeProbeError where it is not."""
    if not (isinstance(output, torch.Tensor) and output.dim() == 2):
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise SeProbeError(f"the network's output is {found}; expected logits (image, class), or outcome=a function.")
    return output


def _detached(output: Any) -> Any:
    return output.detach() if isinstance(output, torch.Tensor) else output


def _references(
    reference: Reference, sites: Sequence[GateSite], gates: Mapping[str, torch.Tensor], labels: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return r of each site, of the gate's shape without the image axis."""
    if isinstance(reference, Mapping):
        return {site.name: _given(reference, site, gates[site.name]) for site in sites}
    if reference == "mean":
        return {name: _mean_of_means(gate, labels) for name, gate in gates.items()}
    if isinstance(reference, str):
        raise SeProbeError(f"the reference {reference!r} was asked for; expected 'mean', a number, or values by site.")
    return {name: gate.new_full(gate.shape[1:], float(reference)) for name, gate in gates.items()}


def _given(reference: Mapping[str, ArrayLike], site: GateSite, gate: torch.Tensor) -> torch.Tensor:
    if site.name not in reference:
        raise SeProbeError(f"no reference was given for {site.name}; pass one for every site, or fewer sites.")
    values = torch.as_tensor(np.array(reference[site.name])).to(gate)
    if values.shape != gate.shape[1:]:
        raise SeProbeError(
            f"{site.name} has gates of shape {tuple(gate.shape[1:])}, and a reference of shape {tuple(values.shape)} "
            "was given for it; pass that of this very site."
        )
    return values


def _mean_of_means(gate: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    if labels is None:
        return gate.mean(0)
    return torch.stack([gate[labels == label].mean(0) for label in labels.unique()]).mean(0)


class GateGradients(PassFollower):
    """Read the derivative of an outcome by every gate, at the very product by which the network multiplies.

    Only the use at that product counts: what else the network computes from the gate's tensor does not. No gradient
    of a weight is computed, and nothing is added to `.grad`.

    Args:
        network: the network, in evaluation mode, not wrapped.
        sites: the sites, as `find_gates` returned them.

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
        return {name: _joined(parts) for name, parts in self._gates.items()}

    def run(
        self, batch: torch.Tensor, outcome: Callable[[Any], torch.Tensor], forward: Callable[[Any], Any] | None = None
    ) -> tuple[Any, torch.Tensor]:
        """Run the network with gradients on, and return its output and the outcome of each image.

        Args:
            batch: the network's input, `(image, …)`.
            outcome: maps the output to `(image,)`.
            forward: calls the network; the network itself by default.

        Raises:
            SeProbeError: gradients cannot flow, or the outcome is not one number for each image.
        """
        if not batch.is_floating_point():
            raise SeProbeError(f"the batch is of {batch.dtype}, by which nothing can be derived; pass floating point.")
        with torch.inference_mode(False), torch.enable_grad():
            images = batch.clone() if batch.is_inference() else batch.detach()
            output = (forward or self.network)(images.requires_grad_())
            values = outcome(output)
        if values.shape != (len(batch),):
            raise SeProbeError(f"the outcome has shape {tuple(values.shape)}; expected ({len(batch)},), one an image.")
        return output, values

    def gradients(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the derivative of each image's outcome by its gates.

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
                "no_grad), so that its gates have no first-order effect. Replace them instead, with intervene."
            )
        self._found.clear()
        try:
            # Bounded by the gates, so that what lies before the first one is not run backward.
            with torch.inference_mode(False):
                torch.autograd.grad(values, list(self._edges.values()), torch.ones_like(values), allow_unused=True)
        except RuntimeError as error:
            if "inplace operation" not in str(error):
                raise
            raise SeProbeError(
                "the network overwrites values that its gradient needs, so that its gates have no first-order effect; "
                "replace them instead, with intervene."
            ) from error
        found = self._found
        gates = {name: {part: found[name].get(part) for part in parts} for name, parts in self._gates.items()}
        return {
            name: _joined({p: torch.zeros_like(self._gates[name][p]) if g is None else g for p, g in parts.items()})
            for name, parts in gates.items()
        }

    def begin_pass(self, batch: Any) -> None:
        """Forget the pass before, and watch for the end of each product."""
        if self.elsewhere:
            raise SeProbeError("effects are of whole passes, and a part of the network was called; call network(...).")
        for held in (self._gates, self._found, self._edges, self._made):
            held.clear()
        push_mode(self, _AfterProducts(self))

    def leave_pass(self) -> None:
        """Stop watching."""
        pop_mode(self)
        self.settle()

    def before(self, item: SiteProduct, original: tuple[Any, ...], args: tuple[Any, ...]) -> None:
        """Keep the gate, and where the backward pass may stop."""
        factor: torch.Tensor = args[item.product.operand]
        self._gates[item.site][item.part] = item.product.read(args, item.point.product_shape).clone()
        if args[item.product.operand] is not original[item.product.operand]:
            raise another_way(f"at {item.site} the gate is replaced by an intervention, which has no gradient")
        if factor.requires_grad:
            edge = torch.autograd.graph.get_gradient_edge(factor)
            self._edges[edge.node, edge.output_nr] = edge
        elif torch.is_grad_enabled():
            raise SeProbeError(
                f"the gate of {item.site} is cut off from its input (detach or no_grad in the network), so that it "
                "carries no gradient; leave the site out, or replace its gates with intervene."
            )

    def after(self, item: SiteProduct, output: torch.Tensor) -> None:
        """Keep the output of a product until autograd has noted what made it."""
        self._made.append((item, output))

    def settle(self) -> None:
        """Put a hook on the backward step of each product that was made."""
        made, self._made = self._made, []
        for item, output in made:
            node = output.grad_fn
            if node is None:
                continue
            if node.name() != _NODES[item.product.operation.name]:
                raise SeProbeError(
                    f"the product of {item.site} is written into a part of another tensor ({node.name()}), where its "
                    "gradient cannot be told from that of the rest; multiply out of place, or leave the site out."
                )
            node.register_hook(self._hook(item))

    def _hook(self, item: SiteProduct) -> Callable[[Any, Any], None]:
        def read(gradients: Sequence[torch.Tensor | None], _outputs: Any) -> None:
            gradient = gradients[item.product.operand]
            if gradient is not None:
                self._found[item.site][item.part] = item.product.summed(gradient, item.point.product_shape)

        return read


class _AfterProducts(TorchDispatchMode):
    """Lets a follower see each product once autograd has noted it, which is when the next operation begins."""

    def __init__(self, follower: GateGradients) -> None:
        super().__init__()
        self._follower = follower

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not is_reading():
            self._follower.settle()
        return func(*args, **(kwargs or {}))


def _joined(parts: Mapping[int, torch.Tensor]) -> torch.Tensor:
    ordered = [parts[part] for part in sorted(parts)]
    return ordered[0] if len(ordered) == 1 else torch.stack(ordered, dim=1)
