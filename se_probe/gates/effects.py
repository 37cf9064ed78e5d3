"""Effects of each channel's gate on the outcome: to first order from one backward pass, and exactly, one by one.

The effect of replacing the gate s of a channel by a reference r is estimated by ∂y/∂s · (r − s), the first term of the
Taylor series of the outcome y in s (attribution patching; Nanda, "Attribution Patching", 2023; its failures: Kramár et
al., "AtP*", arXiv 2403.00745, 2024). `exact_effects` replaces gates one by one instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.discovery import choose_sites
from se_probe.gates.gradients import GateGradients
from se_probe.gates.intervention import GateContext, Replacement, intervene, tensor_of
from se_probe.gates.resuming import Resumable
from se_probe.gates.site import GateSite

Outcome = str | tuple[int, int] | Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
Reference = str | float | Mapping[str, ArrayLike]
OUTCOMES: Mapping[str, str] = {
    "label": "the logit of the image's own class",
    "predicted": "the logit of the class that the network predicts",
    "log-probability": "the log-probability of the image's own class",
}


@dataclass(frozen=True)
class GateEffects:
    """First-order effects of every channel's gate on the outcome of each image of a batch.

    Attributes:
        effects: site name → `(image, channel)` or `(image, branch, channel)`: the change of the outcome, in its units,
            if the gate of that channel were the reference.
        gates: site name → the gates s, of the same shapes.
        gradients: site name → ∂y/∂s, of the same shapes.
        reference: site name → r, `(channel,)` or `(branch, channel)`.
        outcome: y of each image, `(image,)`.
        output: the network's output.
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
    """Estimate the effect of replacing each channel's gate on the outcome, by one forward and one backward pass.

    Args:
        network: the network, in evaluation mode, as for `GateRecorder`. Weights, `.grad` and hooks are left unchanged.
        batch: its input, `(image, …)`, with a floating-point dtype.
        labels: output unit of each image's class.
        outcome: y of each image: "label" (the logit of its class), "predicted" (that of the predicted class),
            "log-probability" (of its class), two units (a, b) for the difference of their logits, or a function of
            output and labels that returns `(image,)`.
        reference: r: "mean" (of the batch: the mean of the labels' means, or of the images without labels), a number
            such as 0 or 1, or values by site, such as the means of a recording: `(channel,)` or `(branch, channel)`.
        sites: sites or their names; all by default.

    The derivative is that of the whole network: a replaced gate changes the features, and with them the gates of later
    sites, as in an exact replacement. A gate that multiplies at several places is a separate site at each of them, and
    is replaced at one site only. Effects of several channels add up to first order only.

    Raises:
        SeProbeError: the network cannot be followed, or cuts off gradients; the outcome has no value for an image, or a
            reference does not fit its site.

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
    output = output.detach() if isinstance(output, torch.Tensor) else output
    return GateEffects(effects, gates, gradients, references, values.detach(), output)


def _checked_outcome(outcome: Outcome, output: Any, labels: torch.Tensor | None) -> torch.Tensor:
    """Check the labels and units, which waits for the device, and return the outcome."""
    if not callable(outcome):
        logits = logits_of(output)
        units = torch.tensor(outcome) if isinstance(outcome, tuple) else labels
        if labels is not None and len(labels) != len(logits):
            raise SeProbeError(f"{len(labels)} labels were given for {len(logits)} images; expected one for each.")
        wrong = [] if units is None else units[(units < 0) | (units >= logits.shape[1])].tolist()
        if wrong:
            raise SeProbeError(f"{wrong[0]} is not an output unit of the network; expected 0 to {logits.shape[1] - 1}.")
    return outcome_of(outcome, output, labels)


def outcome_of(outcome: Outcome, output: Any, labels: torch.Tensor | None) -> torch.Tensor:
    """Return the outcome of each image, `(image,)`, without waiting for the device; see `gate_effects`.

    Raise SeProbeError if the output is not logits, or labels are missing.
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
            f"the outcome {outcome!r} was requested; expected one of {', '.join(OUTCOMES)}, two units or a function."
        )
    if outcome == "predicted":
        return logits.max(1).values
    if labels is None:
        raise SeProbeError(f"the outcome {outcome!r} needs labels; pass labels=[…], an output unit for each image.")
    values = logits.log_softmax(1) if outcome == "log-probability" else logits
    return values.gather(1, labels.long()[:, None])[:, 0]


def logits_of(output: Any) -> torch.Tensor:
    """Return a network's output if it is logits, `(image, class)`, else raise SeProbeError."""
    if not (isinstance(output, torch.Tensor) and output.dim() == 2):
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise SeProbeError(f"the network's output is {found}; expected logits (image, class), or outcome=a function.")
    return output


def _references(
    reference: Reference, sites: Sequence[GateSite], gates: Mapping[str, torch.Tensor], labels: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return r of each site, in the shape of its gate without the image axis."""
    if isinstance(reference, Mapping):
        return {site.name: _given(reference, site, gates[site.name]) for site in sites}
    if reference == "mean":
        groups = [slice(None)] if labels is None else [labels == label for label in labels.unique()]
        return {name: torch.stack([gate[group].mean(0) for group in groups]).mean(0) for name, gate in gates.items()}
    if isinstance(reference, str):
        raise SeProbeError(f"the reference {reference!r} was requested; expected 'mean', a number, or values by site.")
    return {name: gate.new_full(gate.shape[1:], float(reference)) for name, gate in gates.items()}


def _given(reference: Mapping[str, ArrayLike], site: GateSite, gate: torch.Tensor) -> torch.Tensor:
    if site.name not in reference:
        raise SeProbeError(f"no reference was given for {site.name}; pass one for every site, or fewer sites.")
    values = tensor_of(reference[site.name]).to(gate)
    if values.shape != gate.shape[1:]:
        raise SeProbeError(
            f"{site.name} has gates of shape {tuple(gate.shape[1:])}, and a reference of shape {tuple(values.shape)} "
            "was given for it; pass that of this site."
        )
    return values


@dataclass(frozen=True)
class ChannelOfEach(Replacement):
    """Replace the gate of one channel of each image, `picks`, by its reference; both as for `exact_effects`."""

    picks: torch.Tensor
    reference: torch.Tensor

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the gates with one channel replaced."""
        branches, channels = context.site.branches, context.site.channels
        picked = nn.functional.one_hot(self.picks.to(gate.device), branches * channels).bool()
        picked = picked.reshape(-1, branches, channels)[:, context.branches]
        reference = self.reference.to(gate).reshape(branches, channels)[context.branches]
        return torch.where(picked, reference, gate)


def exact_effects(
    network: nn.Module,
    batch: torch.Tensor,
    site: GateSite,
    picks: torch.Tensor,
    reference: torch.Tensor,
    *,
    labels: torch.Tensor | None = None,
    outcome: Outcome = "label",
    passes: Resumable | None = None,
) -> torch.Tensor:
    """Return the change of each image's outcome when the gate of a single channel is replaced.

    One pass replaces a gate in every image, and the channels may differ from image to image.

    Args:
        network: the network, in evaluation mode.
        batch: its input, `(image, …)`.
        site: the site.
        picks: `(image, pick)`, channels of each image; of a site with branches, branch · channels + channel.
        reference: the gates' replacements, `(channel,)` or `(branch, channel)`.
        labels: output unit of each image's class.
        outcome: as for `gate_effects`; "predicted" is the class that the untouched network predicts.
        passes: resumes passes at the site; without it every pass is a whole one.

    Returns:
        `(image, pick)`, in units of the outcome.

    Raises:
        SeProbeError: the output is not logits, labels are missing, or the network cannot be hooked.
    """
    kept: Any = nullcontext() if passes is None else passes.kept()
    with torch.inference_mode(), kept:
        clean = network(batch)
        if outcome == "predicted":
            labels, outcome = logits_of(clean).argmax(1), "label"
        before = outcome_of(outcome, clean, labels)
        changes = []
        for chosen in picks.unbind(1):
            resumed: Any = nullcontext() if passes is None else passes.resumed([site])
            with intervene(network, {site: ChannelOfEach(chosen, reference)}), resumed:
                changes.append(outcome_of(outcome, network(batch), labels) - before)
    return torch.stack(changes, dim=1)
