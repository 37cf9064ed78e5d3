"""Batch norms folded into the convolutions before them: the same function of the image with less work."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Classes whose forward is known; a subclass may compute its weight anew in every pass.
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv2dSame)
# What is left of a batch norm without its normalisation; its parts keep their paths.
_REMAINDERS: Mapping[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.BatchNorm1d: lambda norm: nn.Identity(),
    nn.BatchNorm2d: lambda norm: nn.Identity(),
    nn.BatchNorm3d: lambda norm: nn.Identity(),
    BatchNormAct2d: lambda norm: nn.Sequential(OrderedDict(norm.named_children())),
}


def fold_batch_norms(network: nn.Module, batch: torch.Tensor) -> int:
    """Fold batch norms into the convolutions whose output they normalise, in place; return how many.

    The pairs are found in one forward pass by what goes out of the one and into the other, whatever the names.
    That nothing else reads a convolution's output is not seen: hold the folded network against the plain one.

    Args:
        network: a network in evaluation mode that nobody else uses.
        batch: input of that pass.
    """
    pairs = _pairs(network, batch)
    for convolution_path, norm_path in pairs:
        convolution: Any = network.get_submodule(convolution_path)
        norm: Any = network.get_submodule(norm_path)
        _replace(network, convolution_path, fuse_conv_bn_eval(convolution, norm))
        _replace(network, norm_path, _REMAINDERS[type(norm)](norm))
    return len(pairs)


def _pairs(network: nn.Module, batch: torch.Tensor) -> list[tuple[str, str]]:
    """Return the paths of convolutions and of the batch norms that take their output and nothing else."""
    outputs: dict[str, list[torch.Tensor]] = defaultdict(list)
    inputs: dict[str, list[torch.Tensor]] = defaultdict(list)
    with ExitStack() as hooks, torch.no_grad():
        for path, module in _own_modules(network):
            if type(module) in _CONVOLUTIONS:
                hook = module.register_forward_hook(lambda _m, _i, out, seen=outputs[path]: seen.append(out))
            elif type(module) in _REMAINDERS and getattr(module, "running_mean", None) is not None:
                hook = module.register_forward_pre_hook(lambda _m, args, seen=inputs[path]: seen.extend(args[:1]))
            else:
                continue
            hooks.callback(hook.remove)
        network(batch)
    makers = {id(seen[0]): path for path, seen in outputs.items() if len(seen) == 1}
    return [(makers[id(seen[0])], path) for path, seen in inputs.items() if len(seen) == 1 and id(seen[0]) in makers]


def _own_modules(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return modules with their paths, without those that are shared, share a weight, or carry hooks."""
    modules = list(network.named_modules(remove_duplicate=False))
    places = Counter(id(module) for _, module in modules)
    weights = Counter(id(module.weight) for _, module in modules if getattr(module, "weight", None) is not None)
    return [
        (path, module)
        for path, module in modules
        if places[id(module)] == 1
        and weights[id(getattr(module, "weight", None))] <= 1
        and not (module._forward_hooks or module._forward_pre_hooks)
    ]


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module.eval())
