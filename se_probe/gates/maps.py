"""Where a gate looks: its logit as a sum over the positions of the feature map that it multiplies.

A gate is computed from its map u through a squeeze z, mostly the spatial mean. With a the gradient of the logit with
respect to z, position (i, j) has the share M(i, j) = Σ_c a_c u_c(i, j) / HW. Σ M plus the share of the constants is the
logit, exactly if the excitation consists of affine layers and ReLU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.discovery import choose_sites
from se_probe.gates.hooks import another_way, check_recordable
from se_probe.gates.map_paths import MapPath, Values, find_paths, no_map
from se_probe.gates.site import GateSite
from se_probe.trace.dry_pass import default_input_size
from se_probe.trace.tape import LastOperation, Tape, TapeMode

# Channels for all images, or a row of channels for each image.
Channels = Sequence[int] | Sequence[Sequence[int]] | torch.Tensor


@dataclass(frozen=True)
class GateMap:
    """Where some gates of one site look, image by image; `maps.sum((-2, -1)) + bias + residual` is the logit.

    Attributes:
        site: the site.
        channels: `(image, channel)`, the channels.
        maps: `(image, channel, height, width)`, the share of each position of the feature map in the logit.
        bias: `(image, channel)`, the share of the excitation's constants (biases, batch norms).
        logit: `(image, channel)`, the input of the gate function. If branches compete, the logit of the last branch
            minus that of the first, which is the logarithm of the ratio of their gates.
        residual: `(image, channel)`, logit minus maps minus bias: rounding errors, and the curvature of nonlinearities
            other than ReLU.
    """

    site: GateSite
    channels: torch.Tensor
    maps: torch.Tensor
    bias: torch.Tensor
    logit: torch.Tensor
    residual: torch.Tensor


def gate_maps(
    network: nn.Module,
    batch: torch.Tensor,
    channels: Mapping[GateSite, Channels] | Mapping[str, Channels],
) -> dict[str, GateMap]:
    """Return where gates look: the share of every position of the feature map in a gate's logit.

    Args:
        network: the network, in evaluation mode; it is left unchanged.
        batch: `(image, …)`, its input.
        channels: site or its name → channels, as a sequence for all images or `(image, channel)` with a row for each.

    Returns:
        Site name → maps, `(image, channel, height, width)`, with `bias`, `logit` and `residual`.

    Example:
        >>> maps = gate_maps(network, batch, {"SE_3_4": [3, 17]})
        >>> maps["SE_3_4"].maps  # (image, 2, height, width), in units of the logit

    The share of a position is gradient times value, summed over channels: M(i, j) = Σ_c a_c u_c(i, j) / HW for a mean
    squeeze, the value at the maximum for a maximum squeeze. For several batches, make one `GateMapper`.

    Raises:
        SeProbeError: the network cannot be watched, has no such site or channel, or the logit of a site cannot be split
            over positions: it is normalised, or not computed from a squeeze of the multiplied map.

    Source: class activation maps, Zhou et al., arXiv 1512.04150, equation 2; gradients with respect to biases:
    Srinivas and Fleuret, arXiv 1905.00780, proposition 1.
    """
    mapper = GateMapper(network, channels, input_size=tuple(batch.shape[1:]))
    named = {site if isinstance(site, str) else site.name: wanted for site, wanted in channels.items()}
    return mapper(batch, named)


class GateMapper:
    """Computes where the gates of a network look, batch by batch.

    Args:
        network: the network, in evaluation mode, not wrapped.
        sites: sites, or their names; None for all that have maps.
        input_size: size of the dry pass's input, as for `find_gates`.

    Attributes:
        sites: the sites.
        refused: name → why a site of the network has no maps; empty if the sites were given.

    Raises:
        SeProbeError: as `gate_maps`.
    """

    def __init__(
        self,
        network: nn.Module,
        sites: Iterable[GateSite | str] | None = None,
        *,
        input_size: Sequence[int] | None = None,
    ) -> None:
        check_recordable(network)
        named = None if sites is None else list(sites)
        chosen = choose_sites(network, named, input_size=input_size)
        size = input_size or getattr(chosen, "input_size", None) or default_input_size(network)
        paths, self.refused = find_paths(network, chosen, size)
        for name, why in self.refused.items():
            if named is not None or not paths:
                raise no_map(name, why)
        self._network = network
        self._paths = {path.site.name: path for path in paths}

    @property
    def sites(self) -> list[GateSite]:
        """The sites, in the given order."""
        return [path.site for path in self._paths.values()]

    def __call__(self, batch: torch.Tensor, channels: Mapping[str, Channels]) -> dict[str, GateMap]:
        """Return site name → maps of these channels, in one pass; see `gate_maps`.

        Args:
            batch: `(image, …)`, the network's input.
            channels: site name → channels.
        """
        with torch.inference_mode(False):
            rows = self._rows(channels, batch)
            tape = self._run(batch, list(rows))
            with torch.enable_grad():
                return {name: _Split(self._paths[name], tape).maps(row) for name, row in rows.items()}

    def logits(self, batch: torch.Tensor, channels: Mapping[str, Channels]) -> dict[str, torch.Tensor]:
        """Return site name → the logits of these channels, `(image, channel)`, without maps.

        Args:
            batch: `(image, …)`, the network's input.
            channels: site name → channels.
        """
        with torch.inference_mode(False), torch.no_grad():
            rows = self._rows(channels, batch)
            tape = self._run(batch, list(rows))
            return {name: _Split(self._paths[name], tape).logit.gather(1, row) for name, row in rows.items()}

    def _rows(self, channels: Mapping[str, Channels], batch: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: self._row(name, wanted, len(batch)).to(batch.device) for name, wanted in channels.items()}

    def _row(self, name: str, wanted: Channels, images: int) -> torch.Tensor:
        """Return channels as `(image, channel)`."""
        if name not in self._paths:
            raise no_map(name, self.refused.get(name, f"this mapper was made for {', '.join(self._paths)}"))
        try:
            rows = torch.as_tensor(wanted, dtype=torch.long).clone()
        except (TypeError, ValueError):
            raise SeProbeError(
                f"the channels of {name} are not whole numbers in rows of equal length; expected a row of channels, or "
                f"one row for each of the {images} images."
            ) from None
        rows = rows.expand(images, -1) if rows.dim() == 1 else rows
        most = self._paths[name].site.channels
        if rows.dim() != 2 or len(rows) != images:
            raise SeProbeError(
                f"the channels of {name} have shape {tuple(rows.shape)}; expected a row of channels, or one row "
                f"for each of the {images} images."
            )
        if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < most:
            raise SeProbeError(
                f"channels {int(rows.min())} to {int(rows.max())} of {name} were requested; it has 0 to {most - 1}."
            )
        return rows

    @torch.no_grad()
    def _run(self, batch: torch.Tensor, names: Sequence[str]) -> Tape:
        """Run one pass up to the last of these sites, and keep the operations between their maps and logits."""
        check_recordable(self._network)
        paths = [self._paths[name] for name in names]
        needed = {operation for path in paths for operation in path.needed}
        sources = {ref for path in paths for ref in path.sources}
        end = max(paths, key=lambda path: sum(path.made.values()))
        mode = TapeMode(batch, needed, sources, [item.product for path in paths for item in path.factors], end.last)
        with suppress(LastOperation), mode:
            self._network(batch)
        made = mode.tape.counts
        different = next((name for name in {*end.made, *made} if end.made.get(name) != made.get(name)), None)
        if different is not None:
            raise another_way(
                f"up to {end.site.name} it made {made.get(different, 0)} {different} operations, not "
                f"{end.made.get(different, 0)}"
            )
        return mode.tape


class _Split:
    """The logits of one site, recomputed from its feature map and split over its positions."""

    def __init__(self, path: MapPath, tape: Tape) -> None:
        self._path, self._tape = path, tape
        self._sources = {ref: tape.values[ref] for ref in path.sources}
        self._constants: list[tuple[torch.Tensor, torch.Tensor]] = []
        grad = torch.is_grad_enabled()
        for value in self._sources.values():
            value.requires_grad_(grad)
        values = self._run(constants=grad)
        self.logit = path.logits(tape, values)
        self._check(values)

    def maps(self, channels: torch.Tensor) -> GateMap:
        """Return the maps of channels, `(image, channel)`."""
        maps, bias = zip(*(self._share(self.logit.gather(1, row[:, None])) for row in channels.unbind(1)), strict=True)
        logit = self.logit.detach().gather(1, channels)
        whole, constant = torch.stack(maps, 1), torch.stack(bias, 1)
        residual = logit - whole.sum((-2, -1)) - constant
        return GateMap(self._path.site, channels, whole, constant, logit, residual)

    def _run(self, *, constants: bool) -> Values:
        """Run the operations from the map to the logit; keep the output of each for a zero map, its constant part."""
        values: Values = dict(self._sources)
        for operation in self._path.operations:
            step = self._tape.steps[operation]
            made = step.run(values)
            values |= made
            if constants and not step.view:
                with torch.no_grad():
                    zeros = step.run({ref: torch.zeros_like(values[ref]) for ref in step.refs})
                self._constants += [(item, zeros[ref]) for ref, item in made.items() if item.requires_grad]
        return values

    def _share(self, logit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the map and the constants' share of one logit per image."""
        inputs = [*self._sources.values(), *(made for made, _ in self._constants)]
        found = torch.autograd.grad(logit.sum(), inputs, retain_graph=True, allow_unused=True)
        gradients = [torch.zeros_like(item) if item is None else item for item in found]
        with torch.no_grad():
            split = len(self._sources)
            pairs = zip(self._sources.items(), gradients[:split], strict=True)
            shares = {ref: value * gradient for (ref, value), gradient in pairs}
            parts = zip(self._constants, gradients[split:], strict=True)
            bias = [(gradient * zero).reshape(len(logit), -1).sum(1) for (_, zero), gradient in parts]
            return self._on_map(shares), torch.stack(bias).sum(0)

    def _on_map(self, shares: Values) -> torch.Tensor:
        """Add up the shares at each position; a map that several products multiply counts once."""
        factors = {factor.feature: factor for factor in self._path.factors}
        return torch.stack([factor.on_map(self._tape, shares) for factor in factors.values()]).sum(0)

    @torch.no_grad()
    def _check(self, values: Values) -> None:
        """Compare the gates computed from the logits with those by which the network multiplied."""
        for factor in self._path.factors:
            found = factor.gates(self._tape, values)
            expected = factor.product.gate(self._tape.factors[factor.product.operation], factor.shape)
            coarse = torch.finfo(expected.dtype).bits < 32
            if not torch.allclose(found, expected, rtol=2e-2 if coarse else 1e-4, atol=1e-2 if coarse else 1e-5):
                raise another_way(
                    f"the gates of {self._path.site.name}, recomputed from its map, differ from those of the pass"
                )
