"""Small timm networks whose batch norms do something, and their gates by plain hooks."""

import timm
import torch
from torch import nn


def living(architecture: str, **options) -> nn.Module:
    """An untrained network in evaluation mode with batch norms drawn at random, as after training."""
    torch.manual_seed(0)
    network = timm.create_model(architecture, **options).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.25)
            module.weight.uniform_(0.8, 1.1)
            module.bias.normal_(0, 0.05)
    return network


def by_plain_hooks(network: nn.Module, ending: str, batch: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of the modules whose path has an ending, of one eager pass of the plain network."""
    outputs: list[torch.Tensor] = []
    handles = [
        module.register_forward_hook(lambda _m, _i, output: outputs.append(output.clone()))
        for path, module in network.named_modules()
        if path.endswith(ending)
    ]
    with torch.no_grad():
        network(batch)
    for handle in handles:
        handle.remove()
    return outputs
