"""A copy of a network that computes the same gates in less time, held against the network on real images."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from se_probe.gates import GateSite
from se_probe.recording.agreement import ACCEPTED, deviation
from se_probe.recording.folding import fold_batch_norms
from se_probe.recording.hooked import HookedNetwork, Signals, signals_for


def first_line(error: Exception) -> str:
    """Return what an error of a library says first, for one line of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@dataclass(frozen=True)
class FastCopy:
    """A network to run in the place of another.

    Attributes:
        network: the copy; the network itself where no copy was close enough.
        channels_last: whether its input is laid out with channels last.
        folded: number of batch norms that were folded into convolutions.
        deviation: largest difference of its signals from those of the network (see `agreement.deviation`).
        rejected: what was given up, and why.
    """

    network: nn.Module
    channels_last: bool
    folded: int
    deviation: float
    rejected: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Return JSON-able facts for the provenance."""
        return {
            "channels_last": self.channels_last,
            "batch_norms_folded": self.folded,
            "largest_difference": self.deviation,
            "rejected": list(self.rejected),
        }


def fast_copy(
    network: nn.Module, sites: Sequence[GateSite], capture: Sequence[str], images: torch.Tensor, expected: Signals
) -> FastCopy:
    """Return the fastest copy whose signals stay within `ACCEPTED` on some images.

    Args:
        network: the network, on its device; it is not changed.
        sites: those of its sites to record.
        capture: what to record beside the gates.
        images: `(n, 3, H, W)`, on the host.
        expected: the network's own signals for these images first.
    """
    expected = {key: values[: len(images)] for key, values in expected.items()}
    rejected: list[str] = []
    for fold, name in ((True, "channels last and folded batch norms"), (False, "channels last")):
        try:
            copy = deepcopy(network).to(memory_format=torch.channels_last)
            hooked = HookedNetwork(copy, sites, capture, channels_last=True)
            folded = fold_batch_norms(copy, hooked.place(images[:1])) if fold else 0
            far = deviation(expected, signals_for(hooked, images))
        except Exception as error:  # views of one memory layout only, and whatever else a network does
            rejected.append(f"{name}: {first_line(error)}")
            continue
        if far <= ACCEPTED:
            return FastCopy(copy, True, folded, far, tuple(rejected))
        rejected.append(f"{name}: gates move by {far:.1e}, more than {ACCEPTED:.0e}")
    return FastCopy(network, False, 0, 0.0, tuple(rejected))
