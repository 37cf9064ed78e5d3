"""Changes gates while a network runs: another factor at the very product, by hooks that come off again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from se_probe.errors import SeProbeError
from se_probe.gates.discovery import find_gates
from se_probe.gates.recorder import check_recordable, module_of
from se_probe.gates.replacements import Place, Replacement
from se_probe.gates.site import GateSite, hook_point_of
from se_probe.trace.operation import Product, canonical, factor_like
from se_probe.trace.watching import ProductMode


def intervene(
    network: nn.Module, replacements: Mapping[GateSite, Replacement] | Mapping[str, Replacement]
) -> Intervention:
    """Replace gates of a network for as long as a `with` block lasts.

    Args:
        network: the network, in evaluation mode; as for `GateRecorder`, wrappers are refused.
        replacements: site → what stands in the place of its gate. A site is what `find_gates` returned for this
            network, or its name, for which one dry pass looks.

    Example:
        >>> with intervene(network, {"SE_5_2": Identity(), "SE_5_3": Identity()}):
        ...     network(batch)

    The factor is replaced at the product, so that whatever else the network computes from the gate stays. Gates of
    later sites are computed from the changed features. Forward passes run without gradients, which would be those
    of the untouched network. Nothing of the network is changed but hooks, which come off at the end of the block or
    on any exception.

    Raises:
        SeProbeError: the network cannot be hooked, has no such site, or a replacement does not fit its site.

    Source: interventions on a causal graph, Pearl, Causality (2009), section 3.2; ablation by the mean: Nanda et
    al. and others, "mean ablation".
    """
    by_name = {site.name: site for site in find_gates(network)} if any(isinstance(k, str) for k in replacements) else {}
    chosen: dict[GateSite, Replacement] = {}
    for key, replacement in replacements.items():
        if isinstance(key, str) and key not in by_name:
            raise SeProbeError(f"the network has no site {key!r}; expected some of {', '.join(by_name)}.")
        chosen[by_name[key] if isinstance(key, str) else key] = replacement
    return Intervention(network, chosen)


class Intervention:
    """Replaces gates between `__enter__` and `__exit__`; see `intervene`.

    Attributes:
        labels: label of each image of the next batch, for replacements that differ by class or image.
    """

    def __init__(self, network: nn.Module, replacements: Mapping[GateSite, Replacement]) -> None:
        self.labels: Sequence[str] | None = None
        self._network = network
        self._replacements = dict(replacements)
        for site, replacement in self._replacements.items():
            hook_point_of(site)
            replacement.check(site)
        self._hooks = ExitStack()
        self._calls: Counter[str] = Counter()
        self._forward = -1
        self._open: list[_Replacing] = []
        self._replaced: Counter[str] = Counter()
        self._no_grad: torch.no_grad | None = None

    def __enter__(self) -> Self:
        check_recordable(self._network)
        with ExitStack() as hooks:
            hooks.callback(self._leave)
            hooks.callback(self._network.register_forward_pre_hook(self._begin).remove)
            for path, sites in self._by_module().items():
                module, (enter, leave) = module_of(self._network, path), self._module_hooks(path, sites)
                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
            hooks.callback(self._network.register_forward_hook(self._leave, always_call=True).remove)
            hooks.callback(self._network.register_forward_hook(self._end).remove)
            self._hooks = hooks.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()

    def _by_module(self) -> dict[str, list[GateSite]]:
        modules: dict[str, list[GateSite]] = defaultdict(list)
        for site in self._replacements:
            modules[site.module].append(site)
        return modules

    def _begin(self, _network: nn.Module, _args: Any) -> None:
        self._forward += 1
        self._calls.clear()
        self._replaced.clear()
        self._no_grad = torch.no_grad()
        self._no_grad.__enter__()

    def _leave(self, *_hook: Any) -> None:
        """Leave what was entered for this pass; an interrupt skips the hooks that would have done so."""
        while self._open:
            self._open.pop().__exit__(None, None, None)
        no_grad, self._no_grad = self._no_grad, None
        if no_grad is not None:
            no_grad.__exit__(None, None, None)

    def _end(self, _network: nn.Module, _args: Any, _output: Any) -> None:
        """Refuse a pass in which a gate was not replaced, or more than once."""
        wrong = [
            site.name for site in self._replacements if self._replaced[site.name] != len(hook_point_of(site).products)
        ]
        if wrong:
            raise SeProbeError(
                f"this forward pass took another way than the dry pass: the gates of {', '.join(wrong)} were not "
                "replaced; its output is not that of an intervention."
            )

    def _module_hooks(self, path: str, sites: Sequence[GateSite]) -> tuple[Any, Any]:
        def enter(_module: nn.Module, _args: Any) -> None:
            here = {site: self._place(site) for site in sites if hook_point_of(site).product_call == self._calls[path]}
            self._calls[path] += 1
            mode = _Replacing(here, self._replacements, self._replaced)
            mode.__enter__()
            self._open.append(mode)

        def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
            self._open.pop().__exit__(None, None, None)

        return enter, leave

    def _place(self, site: GateSite) -> Place:
        return Place(site, slice(None), self._forward, self.labels)


class _Replacing(ProductMode):
    """Replaces factors at the multiplications inside one module call."""

    def __init__(
        self,
        places: Mapping[GateSite, Place],
        replacements: Mapping[GateSite, Replacement],
        replaced: Counter[str],
    ) -> None:
        self._factors: dict[int, tuple[Product, Place]] = {}
        for site, place in places.items():
            products = hook_point_of(site).products
            for branch, product in enumerate(products):
                part = place if len(products) == 1 else _one_branch(place, branch)
                self._factors[product.index] = product, part
        super().__init__(self._factors)
        self._replacements = replacements
        self._replaced = replaced

    def at_product(self, index: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
        product, place = self._factors[index]
        factor: torch.Tensor = args[product.operand]
        gate = canonical(factor, product.axes, hook_point_of(place.site).product_shape)
        branched = gate if gate.dim() == 3 else gate[:, None]
        values = self._replacements[place.site].values(branched, place).expand(branched.shape)
        self._replaced[place.site.name] += 1
        replaced = factor_like(factor, product.axes, values)
        return *args[: product.operand], replaced, *args[product.operand + 1 :]


def _one_branch(place: Place, branch: int) -> Place:
    return Place(place.site, slice(branch, branch + 1), place.forward, place.labels)
