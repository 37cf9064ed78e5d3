"""Refuse networks whose passes cannot be followed, and passes that differ from the dry pass."""

from __future__ import annotations

import torch
from torch import nn

from se_probe.errors import SeProbeError

TRAINING = (
    "the network is in training mode, in which batch statistics and dropout change its gates; "
    "call network.eval() before it is recorded."
)


def another_way(what: str) -> SeProbeError:
    """Return the error for a pass that differs from the dry pass in which the sites were found."""
    return SeProbeError(
        f"this forward pass took another way than the dry pass in which the sites were found: {what}; nothing of it is "
        "recorded or changed. Find the sites with an input for which the network takes this way."
    )


def check_recordable(network: nn.Module, *, in_training: bool = False) -> None:
    """Raise SeProbeError where hooks would miss gates, see a part of a batch, or see training where it may not be."""
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise SeProbeError(
            f"the network is wrapped in {type(network).__name__}, whose replicas run without the recorder; "
            "pass network.module and run that."
        )
    if isinstance(network, torch.jit.ScriptModule):
        raise SeProbeError(
            "the network is scripted, and hooks on its modules do not run; pass the Python network that it was "
            "scripted from."
        )
    for path, module in network.named_modules():
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise SeProbeError(
                f"{path or 'the network'} is compiled by torch.compile, which may leave out hooks that are "
                "registered later; pass the network from before it was compiled (compiled._orig_mod) and run that."
            )
    if not in_training and any(module.training for module in network.modules()):
        raise SeProbeError(TRAINING)


def module_of(network: nn.Module, path: str) -> nn.Module:
    """Return the module of a site at that path; raise SeProbeError where the network has none."""
    try:
        return network.get_submodule(path)
    except AttributeError:
        raise SeProbeError(
            f"the network has no module {path!r}, which multiplies by a gate; pass the sites that find_gates "
            "returned for this very network."
        ) from None
