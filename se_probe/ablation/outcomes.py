"""Compare the outputs of a changed network with those of the unchanged one: five measures per image."""

from __future__ import annotations

import torch

from se_probe.errors import SeProbeError

# Measures of one image under one intervention, in this order.
MEASURES = ("top1", "top5", "nll", "kl", "agree")
TOP = 5


def log_probabilities(output: object, images: int) -> torch.Tensor:
    """Return `(image, class)` log probabilities, in float64 where the device has it.

    Raises:
        SeProbeError: the network's output is not a vector of logits.
    """
    if not (isinstance(output, torch.Tensor) and output.dim() == 2 and len(output) == images and output.shape[1] > 1):
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise SeProbeError(
            f"the network's output is {shape}; expected logits ({images} images, classes): give a measure of your own "
            "with --metric."
        )
    return output.to(torch.float32 if output.device.type == "mps" else torch.float64).log_softmax(1)


def outcomes(changed: torch.Tensor, clean: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Return `(measure, image)`, the measures of `MEASURES`.

    Args:
        changed: log probabilities of the changed network, `(image, class)`.
        clean: log probabilities of the unchanged network, `(image, class)`.
        units: output unit of each image's class, −1 where the network has none; "top1", "top5" (among the first
            five) and "nll" (negative log-likelihood, nats) are NaN there.

    "kl" is KL(unchanged ‖ changed) in nats, "agree" whether both predict the same class.
    """
    known = (units >= 0) & (units < changed.shape[1])
    own = torch.where(known, units, 0)[:, None]
    first = changed.topk(min(TOP, changed.shape[1])).indices
    hits = first == own
    divergence = (clean.exp() * (clean - changed)).sum(1)
    own_log = changed.gather(1, own)[:, 0]
    labelled = torch.stack([hits[:, 0].to(changed.dtype), hits.any(1).to(changed.dtype), -own_log])
    labelled = torch.where(known, labelled, torch.nan)
    agree = first[:, 0] == clean.argmax(1)
    return torch.cat([labelled, divergence.clamp(min=0)[None], agree.to(changed.dtype)[None]])
