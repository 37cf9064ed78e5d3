"""Exact effects of single channels' gates, one replacement at a time: what first-order effects are held against."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from se_probe.gates.effects import Outcome, outcome_of
from se_probe.gates.intervention import intervene
from se_probe.gates.replacements import GateContext, Replacement
from se_probe.gates.resuming import Resumable
from se_probe.gates.site import GateSite


@dataclass(frozen=True)
class ChannelOfEach(Replacement):
    """Another gate in one channel of each image; all other channels keep theirs.

    Attributes:
        picks: `(image,)`, the channel in each image; of a site with branches, branch · channels + channel.
        reference: what stands there, `(channel,)` or `(branch, channel)`.
    """

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
    """Return how the outcome of each image changes when the gate of one channel is replaced, by doing so.

    Every image has channels of its own, so that one pass replaces as many gates as the batch has images.

    Args:
        network: the network, in evaluation mode.
        batch: its input, `(image, …)`.
        site: the site.
        picks: `(image, pick)`, channels of each image; of a site with branches, branch · channels + channel.
        reference: what stands in the gates' place, `(channel,)` or `(branch, channel)`.
        labels: output unit of each image's class.
        outcome: as for `gate_effects`; "predicted" is the class that the untouched network predicts.
        passes: keeps what the network computes before its sites; without it every pass is a whole one.

    Returns:
        `(image, pick)`, in units of the outcome.
    """
    kept: Any = nullcontext() if passes is None else passes.kept()
    with torch.inference_mode(), kept:
        clean = network(batch)
        if outcome == "predicted":
            labels, outcome = clean.argmax(1), "label"
        before = outcome_of(outcome, clean, labels)
        changes = []
        for chosen in picks.unbind(1):
            resumed: Any = nullcontext() if passes is None else passes.resumed([site])
            with intervene(network, {site: ChannelOfEach(chosen, reference)}), resumed:
                changes.append(outcome_of(outcome, network(batch), labels) - before)
    return torch.stack(changes, dim=1)
