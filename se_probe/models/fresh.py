"""The same architecture with fresh weights, the null model of Adebayo et al., arXiv 1810.03292."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from se_probe.errors import SeProbeError
from se_probe.models.network import LoadedModel, state_digest


def fresh_weights(model: LoadedModel, seed: int) -> LoadedModel:
    """Return a copy of a network whose layers are initialised again, from `seed`.

    Every module draws its parameters by its own `reset_parameters`; batch norms forget their statistics.
    """
    network = copy.deepcopy(model.network)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, module in network.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            elif next(module.parameters(recurse=False), None) is not None:
                raise SeProbeError(
                    f"{type(module).__name__} {name!r} of {model.name} has parameters and no reset_parameters, so that "
                    "fresh weights cannot be drawn for it; leave out --null."
                )
    weights = f"fresh (seed {seed})"
    return replace(model, network=network.eval(), weights=weights, weights_sha256=state_digest(network.state_dict()))
