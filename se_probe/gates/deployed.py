"""Gates as a small device would compute them: in few bits, or from the squeeze of a tile of the map."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from se_probe.errors import SeProbeError, one_line
from se_probe.gates.hooks import module_of
from se_probe.gates.intervention import GateContext, Replacement
from se_probe.gates.site import GateSite, hook_point_of
from se_probe.trace.operation import Product

MOST_BITS = 16
# Logits beyond these change a gate by less than 0.0004 (sigmoid) or by nothing (hard sigmoid).
_REACH = {"sigmoid": 8.0, "hard-sigmoid": 3.0}
# Largest difference of the gates of a map from those of its channel means, by precision.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_COARSE = 2e-2


@dataclass(frozen=True)
class _Bits(Replacement):
    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS:
            raise SeProbeError(f"{self.bits} bits were requested; expected 1 to {MOST_BITS}.")


@dataclass(frozen=True)
class Quantize(_Bits):
    """The gate rounded to the nearest of 2^bits equally spaced values from 0 to 1, both included.

    Attributes:
        bits: 1 to 16.
    """

    def check(self, site: GateSite) -> None:
        """Raise SeProbeError if the gate is unbounded."""
        if not site.bounded:
            raise SeProbeError(
                f"the gates of {site.name} are unbounded, so {self.bits} bits have no range to cover; choose "
                "sites with gates between 0 and 1."
            )

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the rounded gate."""
        steps = float(2**self.bits - 1)
        return ((gate.float() * steps).round() / steps).to(gate.dtype)


@dataclass(frozen=True)
class QuantizeLogits(_Bits):
    """The gate of a logit rounded to the nearest of 2^bits equally spaced values from −8 to 8 (hard sigmoid: ±3).

    Attributes:
        bits: 1 to 16.
    """

    def check(self, site: GateSite) -> None:
        """Raise SeProbeError if the gate does not determine the logit."""
        if site.activation not in _REACH:
            raise SeProbeError(
                f"the gates of {site.name} come from {site.activation}, which does not determine the logit; expected "
                f"one of {', '.join(_REACH)}: choose other sites, or quantize:{self.bits} for the gates themselves."
            )

    def values(self, gate: torch.Tensor, context: GateContext) -> torch.Tensor:
        """Return the gate of the rounded logit."""
        reach, steps = _REACH[context.site.activation], float(2**self.bits - 1)
        wide = gate.double() if gate.device.type != "mps" else gate.float()
        hard = context.site.activation == "hard-sigmoid"
        logit = (6 * wide - 3 if hard else torch.logit(wide)).clamp(-reach, reach)
        rounded = ((logit + reach) * (steps / (2 * reach))).round() * (2 * reach / steps) - reach
        return (rounded / 6 + 0.5 if hard else torch.sigmoid(rounded)).to(gate.dtype)


class Tile(Replacement):
    """A gate for each tile of the map, computed by the network's own excitation from the mean of that tile.

    Tiles are squares of `side` positions, smaller at the end of a row or column. A map that is not larger than a tile
    keeps its gate up to rounding. The weights are those trained on whole maps.

    Args:
        network: the network whose gates are replaced.
        side: height and width of a tile, in positions of the map.

    Source: Vosco et al., Tiled Squeeze-and-Excite (arXiv 2107.02145), where tiles of seven rows lose no accuracy.
    """

    def __init__(self, network: nn.Module, side: int) -> None:
        if side < 1:
            raise SeProbeError(f"tiles of {side} positions were requested; expected 1 or more.")
        self.side = side
        self._network = network
        self._excitations: dict[tuple[str, torch.device, torch.dtype], Callable[[torch.Tensor], torch.Tensor]] = {}

    def check(self, site: GateSite) -> None:
        """Raise SeProbeError if the gate is not computed from the channel means of the map that it multiplies."""
        parameter = next(self._network.parameters())
        self._excitation(site, parameter.device, parameter.dtype)

    def arguments(
        self, product: Product, args: tuple[Any, ...], gate: torch.Tensor, context: GateContext
    ) -> tuple[Any, ...]:
        """Return the arguments of the multiplication with a gate for each position.

        Args:
            product: as for `Replacement`.
            args: as for `Replacement`.
            gate: as for `Replacement`.
            context: as for `Replacement`.
        """
        feature: torch.Tensor = args[product.feature_operand]
        height, width = feature.shape[2:]
        excitation = self._excitation(context.site, feature.device, feature.dtype)
        tiles = min(self.side, height), min(self.side, width)
        means = functional.avg_pool2d(feature, tiles, stride=tiles, ceil_mode=True)
        gates = excitation(means.permute(0, 2, 3, 1).reshape(-1, means.shape[1]))
        gates = gates.reshape(len(means), *means.shape[2:], -1).permute(0, 3, 1, 2)
        spread = gates.repeat_interleave(tiles[0], 2).repeat_interleave(tiles[1], 3)[:, :, :height, :width]
        return *args[: product.operand], spread.to(gate.dtype), *args[product.operand + 1 :]

    def _excitation(
        self, site: GateSite, device: torch.device, dtype: torch.dtype
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        key = site.name, device, dtype
        if key not in self._excitations:
            self._excitations[key] = _excitation_of(self._network, site)
        return self._excitations[key]


def _excitation_of(network: nn.Module, site: GateSite) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from channel means to gates, both `(image, channel)`, tested on noise.

    Raise SeProbeError if the site's gates are computed from something else.
    """
    point = hook_point_of(site)
    product = point.products[0]
    reason = None
    if site.branches > 1 or len(point.products) > 1:
        reason = "its branches share one squeeze of their sum"
    elif point.squeeze is None:
        reason = "its squeeze, one number per channel, was not found"
    elif (product.axes, product.image_axis, product.rank, product.view) != ((1,), 0, 4, None):
        reason = "it does not multiply a map of (image, channel, height, width)"
    elif point.module == site.module or not point.module.startswith(site.module):
        reason = "its gate is not the output of a module inside the one that multiplies"
    elif (origin := product.origins[1 - product.operand]) is None or origin.name != "argument":
        reason = f"its module {site.module!r} does not multiply its own input"
    if reason is not None:
        raise _untiled(site, reason)
    reference = next(network.parameters())
    excitation = _Excitation(
        _without_hooks(module_of(network, site.module)), point.module.removeprefix(f"{site.module}.")
    )
    noise = torch.rand(2, site.channels, 6, 5, generator=torch.Generator().manual_seed(0)).to(reference)
    try:
        of_map, of_means = excitation.gates(noise), excitation(noise.mean((2, 3)))
    except Exception as error:
        raise _untiled(site, f"its module {site.module!r} does not run on its own ({one_line(error)})") from error
    if (of_map - of_means).abs().max() > _TOLERANCE.get(reference.dtype, _COARSE):
        raise _untiled(site, "its gates depend on more than the channel means of the map")
    return excitation


class _Excitation:
    """A module that returns the gate, which is the output of a module inside it."""

    def __init__(self, module: nn.Module, gate: str) -> None:
        self._module = module
        self._caught: list[torch.Tensor] = []
        module.get_submodule(gate).register_forward_hook(lambda _module, _args, output: self._caught.append(output))

    def gates(self, feature: torch.Tensor) -> torch.Tensor:
        """Return the gates of maps, `(image, channel)`."""
        self._caught.clear()
        with torch.no_grad():
            self._module(feature)
        return self._caught.pop().reshape(len(feature), -1)

    def __call__(self, means: torch.Tensor) -> torch.Tensor:
        """Return the gates of channel means, `(image, channel)`."""
        return self.gates(means[:, :, None, None])


def _without_hooks(module: nn.Module) -> nn.Module:
    """Return a copy of a module without hooks."""
    copied = copy.deepcopy(module)
    for part in copied.modules():
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
        part.__dict__.pop("forward", None)
    return copied.eval().requires_grad_(False)


def _untiled(site: GateSite, reason: str) -> SeProbeError:
    return SeProbeError(f"the squeeze of {site.name} cannot be tiled: {reason}; choose other sites.")
